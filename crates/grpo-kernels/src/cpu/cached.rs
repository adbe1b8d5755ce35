//! Attention of new tokens, at most one per row of a cache, to the keys and values of their rows.

use rayon::prelude::*;

use super::extension::{Host, dims, host, values};
use super::simd::{exp, vectorized};
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
        vectorized(
            #[inline(always)]
            || {
                for (q, out) in q.chunks(HEADS * dim).zip(out.chunks_mut(HEADS * dim)) {
                    attend_heads(q, k, v, dim, out);
                }
            },
        );
    });
    host(out, [tokens, heads * dim])
}

/// Heads that are computed together, one per lane of a vector: so no sum is over the lanes of a vector.
const HEADS: usize = 8;
/// Keys whose scores are computed together.
const KEYS: usize = 4;
/// Numbers of an output that are computed together.
const OUTPUTS: usize = 32;

/// For each of at most [`HEADS`] heads a number.
type PerHead = [f32; HEADS];

/// Computes heads that share keys and values: `q` and `out` `[heads, dim]`, `k` and `v` `[seen, dim]`.
#[inline(always)]
fn attend_heads(q: &[f32], k: &[f32], v: &[f32], dim: usize, out: &mut [f32]) {
    let mut probabilities = scores(q, k, dim);
    softmax(&mut probabilities);
    for (head, out) in out.chunks_exact_mut(dim).enumerate() {
        let (blocks, rest) = out.as_chunks_mut::<OUTPUTS>();
        let done = blocks.as_flattened().len();
        for (i, block) in blocks.iter_mut().enumerate() {
            *block = average(&probabilities, head, v, dim, i * OUTPUTS);
        }
        for (i, output) in rest.iter_mut().enumerate() {
            [*output] = average(&probabilities, head, v, dim, done + i);
        }
    }
}

/// The weighted average of `N` numbers of each value, from `start`.
#[inline(always)]
fn average<const N: usize>(
    probabilities: &[PerHead],
    head: usize,
    v: &[f32],
    dim: usize,
    start: usize,
) -> [f32; N] {
    let mut sums = [0.0; N];
    for (probability, v) in probabilities.iter().zip(v.chunks_exact(dim)) {
        add_product(&mut sums, probability[head], &v[start..start + N]);
    }
    sums
}

/// The scaled scores of every key.
#[inline(always)]
fn scores(q: &[f32], k: &[f32], dim: usize) -> Vec<PerHead> {
    let scale = (dim as f32).powf(-0.5);
    let mut queries = vec![[0.0; HEADS]; dim];
    for (head, q) in q.chunks_exact(dim).enumerate() {
        for (query, q) in queries.iter_mut().zip(q) {
            query[head] = scale * q;
        }
    }
    let mut scores = Vec::with_capacity(k.len() / dim);
    let mut blocks = k.chunks_exact(KEYS * dim);
    for k in &mut blocks {
        scores.extend(scores_of::<KEYS>(&queries, k));
    }
    for k in blocks.remainder().chunks_exact(dim) {
        scores.extend(scores_of::<1>(&queries, k));
    }
    scores
}

#[inline(always)]
fn scores_of<const N: usize>(queries: &[PerHead], k: &[f32]) -> [PerHead; N] {
    let mut keys = k.chunks_exact(queries.len());
    let keys: [&[f32]; N] = std::array::from_fn(
        #[inline(always)]
        |_| &keys.next().expect("there are N keys")[..queries.len()],
    );
    let mut scores = [[0.0; HEADS]; N];
    for (i, query) in queries.iter().enumerate() {
        for (scores, key) in scores.iter_mut().zip(keys) {
            add_product(scores, key[i], query);
        }
    }
    scores
}

/// The softmax of each head's scores, in place.
#[inline(always)]
fn softmax(scores: &mut [PerHead]) {
    let mut largest = [f32::NEG_INFINITY; HEADS];
    for scores in &*scores {
        for head in 0..HEADS {
            largest[head] = if scores[head] > largest[head] { scores[head] } else { largest[head] };
        }
    }
    for scores in &mut *scores {
        for head in 0..HEADS {
            scores[head] -= largest[head];
        }
    }
    for score in scores.as_flattened_mut() {
        *score = exp(*score);
    }
    let mut sums = [0.0; HEADS];
    for scores in &*scores {
        for head in 0..HEADS {
            sums[head] += scores[head];
        }
    }
    let inverse = sums.map(|sum| 1.0 / sum);
    for scores in scores {
        for head in 0..HEADS {
            scores[head] *= inverse[head];
        }
    }
}

/// `sum += factor · x`
#[inline(always)]
fn add_product(sum: &mut [f32], factor: f32, x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += factor * x;
    }
}
