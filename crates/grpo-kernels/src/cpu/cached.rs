//! Attention of one new token of every row to keys and values that are cached.

use rayon::prelude::*;

use super::extension::{Host, dims, host, values};
use super::simd::{LANES, dot, exp, max, sum, vectorized};

/// Queries `[rows, heads, dim]`, keys and values `[rows, key_value_heads, slots, dim]`; row `i` sees the slots
/// `starts[i]..len`. To `[rows, heads * dim]`.
pub(crate) fn attention(q: &Host, k: &Host, v: &Host, starts: &[usize], len: usize) -> Host {
    let ([rows, heads, dim], [_, groups, slots, _]) = (dims(q), dims::<4>(k));
    let (q, k, v) = (values(q), values(k), values(v));
    let of_group = heads / groups * dim;
    let mut out = vec![0.0; rows * heads * dim];
    out.par_chunks_exact_mut(of_group).enumerate().for_each(|(i, out)| {
        let start = starts[i / groups];
        let seen = (i * slots + start) * dim..(i * slots + len) * dim;
        let (k, v) = (&k[seen.clone()], &v[seen]);
        let q = &q[i * of_group..][..of_group];
        let mut weights = vec![0.0; heads / groups * (len - start)];
        vectorized(
            #[inline(always)]
            || group(q, k, v, dim, &mut weights, out),
        );
    });
    host(out, [rows, heads * dim])
}

/// The heads of a key-value head together, so that keys and values are read once: `q` and `out` `[heads, dim]`, `k` and `v`
/// `[seen, dim]`, `weights` `[heads, seen]`.
#[inline(always)]
fn group(q: &[f32], k: &[f32], v: &[f32], dim: usize, weights: &mut [f32], out: &mut [f32]) {
    let (seen, scale) = (k.len() / dim, (dim as f32).powf(-0.5));
    for (j, k) in k.chunks_exact(dim).enumerate() {
        for (q, weights) in q.chunks_exact(dim).zip(weights.chunks_exact_mut(seen)) {
            weights[j] = scale * dot(q, k);
        }
    }
    for weights in weights.chunks_exact_mut(seen) {
        let largest = max(weights);
        for weight in weights.iter_mut() {
            *weight = exp(*weight - largest);
        }
        let inverse = 1.0
            / sum(
                weights,
                #[inline(always)]
                |weight| weight,
            );
        for weight in weights {
            *weight *= inverse;
        }
    }
    out.fill(0.0);
    for (j, v) in v.chunks_exact(dim).enumerate() {
        for (out, weights) in out.chunks_exact_mut(dim).zip(weights.chunks_exact(seen)) {
            add_product(out, weights[j], v);
        }
    }
}

/// `sum += weight · v`
#[inline(always)]
fn add_product(sum: &mut [f32], weight: f32, v: &[f32]) {
    let ((sum, sum_rest), (v, v_rest)) = (sum.as_chunks_mut::<LANES>(), v.as_chunks::<LANES>());
    for (sum, v) in sum.iter_mut().zip(v) {
        for lane in 0..LANES {
            sum[lane] += weight * v[lane];
        }
    }
    for (sum, v) in sum_rest.iter_mut().zip(v_rest) {
        *sum += weight * v;
    }
}
