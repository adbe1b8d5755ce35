//! Attention of one new token per row to cached keys and values.

use rayon::prelude::*;

use super::extension::{Host, dims, host, values};
use super::simd::{LANES, dot, exp, max, sum, vectorized};

/// Queries are `[rows, heads, dim]`, keys and values `[rows, key_value_heads, slots, dim]`; row `i` sees the slots
/// `starts[i]..len`. The output is `[rows, heads * dim]`.
pub(crate) fn attention(q: &Host, k: &Host, v: &Host, starts: &[usize], len: usize) -> Host {
    let ([rows, heads, dim], [_, kv_heads, slots, _]) = (dims(q), dims::<4>(k));
    let (q, k, v) = (values(q), values(k), values(v));
    let per_kv_head = heads / kv_heads * dim;
    let mut out = vec![0.0; rows * heads * dim];
    out.par_chunks_exact_mut(per_kv_head).enumerate().for_each(|(i, out)| {
        let start = starts[i / kv_heads];
        let seen = (i * slots + start) * dim..(i * slots + len) * dim;
        let (k, v) = (&k[seen.clone()], &v[seen]);
        let q = &q[i * per_kv_head..][..per_kv_head];
        let mut probabilities = vec![0.0; heads / kv_heads * (len - start)];
        vectorized(
            #[inline(always)]
            || attend_heads(q, k, v, dim, &mut probabilities, out),
        );
    });
    host(out, [rows, heads * dim])
}

/// Computes the heads of a key-value head together, so that keys and values are read once: `q` and `out` `[heads, dim]`, `k`
/// and `v` `[seen, dim]`, `probabilities` `[heads, seen]`.
#[inline(always)]
fn attend_heads(q: &[f32], k: &[f32], v: &[f32], dim: usize, probabilities: &mut [f32], out: &mut [f32]) {
    let (seen, scale) = (k.len() / dim, (dim as f32).powf(-0.5));
    for (j, k) in k.chunks_exact(dim).enumerate() {
        for (q, probabilities) in q.chunks_exact(dim).zip(probabilities.chunks_exact_mut(seen)) {
            probabilities[j] = scale * dot(q, k);
        }
    }
    for probabilities in probabilities.chunks_exact_mut(seen) {
        let largest = max(probabilities);
        for probability in probabilities.iter_mut() {
            *probability = exp(*probability - largest);
        }
        let inverse = 1.0
            / sum(
                probabilities,
                #[inline(always)]
                |probability| probability,
            );
        for probability in probabilities {
            *probability *= inverse;
        }
    }
    out.fill(0.0);
    for (j, v) in v.chunks_exact(dim).enumerate() {
        for (out, probabilities) in out.chunks_exact_mut(dim).zip(probabilities.chunks_exact(seen)) {
            add_product(out, probabilities[j], v);
        }
    }
}

/// `sum += factor · v`
#[inline(always)]
fn add_product(sum: &mut [f32], factor: f32, v: &[f32]) {
    let ((sum, sum_rest), (v, v_rest)) = (sum.as_chunks_mut::<LANES>(), v.as_chunks::<LANES>());
    for (sum, v) in sum.iter_mut().zip(v) {
        for lane in 0..LANES {
            sum[lane] += factor * v[lane];
        }
    }
    for (sum, v) in sum_rest.iter_mut().zip(v_rest) {
        *sum += factor * v;
    }
}
