//! Attention of new tokens, at most one per row of a cache, to the keys and values of their rows.

use rayon::prelude::*;

use super::extension::{Host, dims, host, values};
use super::simd::{LANES, dot, exp, max, sum, vectorized};
use crate::Place;

/// Writes the keys or values `new` `[tokens, key_value_heads, dim]` into `cache` `[rows, key_value_heads, slots, dim]`.
pub(crate) fn append(cache: &mut Host, new: &Host, places: &[Place]) {
    let [_, kv_heads, slots, dim] = dims(cache);
    let cache = cache.storage_mut::<f32>();
    for (Place { row, slot }, new) in places.iter().zip(values(new).chunks_exact(kv_heads * dim)) {
        for (head, new) in new.chunks_exact(dim).enumerate() {
            cache[((row * kv_heads + head) * slots + slot) * dim..][..dim].copy_from_slice(new);
        }
    }
}

/// Queries are `[tokens, heads, dim]`, keys and values `[rows, key_value_heads, slots, dim]`; each token sees its row up to its own
/// slot. The output is `[tokens, heads * dim]`.
pub(crate) fn attention(q: &Host, k: &Host, v: &Host, places: &[Place]) -> Host {
    let ([tokens, heads, dim], [_, kv_heads, slots, _]) = (dims(q), dims::<4>(k));
    let (q, k, v) = (values(q), values(k), values(v));
    let per_kv_head = heads / kv_heads * dim;
    let mut out = vec![0.0; tokens * heads * dim];
    out.par_chunks_exact_mut(per_kv_head).enumerate().for_each(|(i, out)| {
        let (Place { row, slot }, head) = (places[i / kv_heads], i % kv_heads);
        let start = (row * kv_heads + head) * slots * dim;
        let seen = start..start + (slot + 1) * dim;
        let (k, v) = (&k[seen.clone()], &v[seen]);
        let q = &q[i * per_kv_head..][..per_kv_head];
        let mut probabilities = vec![0.0; heads / kv_heads * (slot + 1)];
        vectorized(
            #[inline(always)]
            || attend_heads(q, k, v, dim, &mut probabilities, out),
        );
    });
    host(out, [tokens, heads * dim])
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
