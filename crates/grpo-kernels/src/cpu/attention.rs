//! Causal attention of packed sequences, without padding, and with the scores of only one block of queries in memory at a time.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;
use rayon::prelude::*;

use super::extension::{Host, Kernel, dims, host, values};
use super::simd::{dot, exp, max, sum, vectorized};
use crate::Segment;

/// Queries per block.
const BLOCK: usize = 64;

/// Maps queries `[tokens, heads, dim]`, keys and values `[tokens, key_value_heads, dim]` to `[tokens, heads * dim]`.
#[derive(Debug)]
pub(crate) struct CausalAttention {
    pub(crate) segments: Arc<Vec<Segment>>,
}

impl Kernel for CausalAttention {
    fn forward(&self, inputs: &[Host]) -> Host {
        let sizes = Sizes::of(inputs);
        let parts: Vec<Vec<f32>> = self
            .tasks(&sizes)
            .into_par_iter()
            .map(|(segment, kv_head)| {
                let [q, k, v] = [0, 1, 2].map(|i| Part::new(&inputs[i], segment, kv_head, &sizes, i == 0));
                let mut out: Vec<f32> = Vec::with_capacity(segment.own.len() * sizes.per_kv_head());
                for at in blocks(segment.own.len()) {
                    let probabilities = Probabilities::new(&q.rows(at.clone()), &k, &at, &sizes);
                    out.extend_from_slice(values(&probabilities.average(&v, at.end)));
                }
                out
            })
            .collect();
        let mut out = vec![0.0; sizes.tokens * sizes.heads * sizes.dim];
        for ((segment, kv_head), part) in self.tasks(&sizes).into_iter().zip(parts) {
            sizes.scatter(&part, segment.own.clone(), kv_head, sizes.heads / sizes.kv_heads, &mut out);
        }
        host(out, [sizes.tokens, sizes.heads * sizes.dim])
    }

    fn backward(&self, inputs: &[Host], gradient: &Host) -> Vec<Host> {
        let sizes = Sizes::of(inputs);
        let shape = dims::<3>(&inputs[0]);
        let gradient = Flex::float_reshape(gradient.clone(), shape.into());
        let parts: Vec<Gradients> = self
            .tasks(&sizes)
            .into_par_iter()
            .map(|(segment, kv_head)| {
                let [q, k, v] = [0, 1, 2].map(|i| Part::new(&inputs[i], segment, kv_head, &sizes, i == 0));
                let gradient = Part::new(&gradient, segment, kv_head, &sizes, true);
                segment_backward(segment, &q, &k, &v, &gradient, &sizes)
            })
            .collect();
        let [mut dq, mut dk, mut dv] = [0, 1, 2].map(|i| vec![0.0; values(&inputs[i]).len()]);
        // Several completions add to the keys and values of their prompt: in a fixed order, whichever thread finishes first.
        for ((segment, kv_head), part) in self.tasks(&sizes).into_iter().zip(parts) {
            sizes.scatter(&part.q, segment.own.clone(), kv_head, sizes.heads / sizes.kv_heads, &mut dq);
            for (sum, [prefix, own]) in [(&mut dk, &part.k), (&mut dv, &part.v)] {
                sizes.scatter(prefix, segment.prefix.clone(), kv_head, 1, sum);
                sizes.scatter(own, segment.own.clone(), kv_head, 1, sum);
            }
        }
        let [_, kv_heads, dim] = dims(&inputs[1]);
        let shapes = [shape, [sizes.tokens, kv_heads, dim], [sizes.tokens, kv_heads, dim]];
        [dq, dk, dv].into_iter().zip(shapes).map(|(gradient, shape)| host(gradient, shape)).collect()
    }
}

impl CausalAttention {
    /// Every segment paired with every key-value head.
    fn tasks(&self, sizes: &Sizes) -> Vec<(&Segment, usize)> {
        self.segments
            .iter()
            .flat_map(|segment| (0..sizes.kv_heads).map(move |kv_head| (segment, kv_head)))
            .collect()
    }
}

struct Sizes {
    tokens: usize,
    heads: usize,
    /// Key-value heads.
    kv_heads: usize,
    dim: usize,
}

impl Sizes {
    fn of(inputs: &[Host]) -> Self {
        let ([tokens, heads, dim], [_, kv_heads, _]) = (dims(&inputs[0]), dims::<3>(&inputs[1]));
        Self { tokens, heads, kv_heads, dim }
    }

    /// Numbers in the queries of a token for one key-value head.
    fn per_kv_head(&self) -> usize {
        self.heads / self.kv_heads * self.dim
    }

    /// Adds `part` `[at.len(), heads, dim]` to the heads of `kv_head` in `sum` `[tokens, kv_heads * heads, dim]`.
    fn scatter(&self, part: &[f32], at: Range<usize>, kv_head: usize, heads: usize, sum: &mut [f32]) {
        let width = heads * self.dim;
        for (token, part) in at.zip(part.chunks_exact(width)) {
            let sum = &mut sum[(token * self.kv_heads + kv_head) * width..][..width];
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
}

/// A segment's part of one key-value head: `[tokens, heads, dim]` of what it sees and of its own tokens.
struct Part {
    prefix: Host,
    own: Host,
    heads: usize,
    dim: usize,
}

impl Part {
    fn new(x: &Host, segment: &Segment, kv_head: usize, sizes: &Sizes, query: bool) -> Self {
        let heads = if query { sizes.heads / sizes.kv_heads } else { 1 };
        let view = |at: &Range<usize>| {
            let layout = x.layout().narrow(0, at.start, at.len()).narrow(1, kv_head * heads, heads);
            x.clone().with_layout(layout)
        };
        Self { prefix: view(&segment.prefix), own: view(&segment.own), heads, dim: sizes.dim }
    }

    /// Rows of its own tokens as a matrix `[at.len() * heads, dim]`.
    fn rows(&self, at: Range<usize>) -> Host {
        let layout = self.own.layout().narrow(0, at.start, at.len());
        matrix(&self.own.clone().with_layout(layout), at.len() * self.heads, self.dim)
    }

    /// The prefix, and its own tokens up to `end`, as matrices `[tokens, dim]`.
    fn seen(&self, end: usize) -> [Host; 2] {
        let own = self.own.clone().with_layout(self.own.layout().narrow(0, 0, end));
        [matrix(&self.prefix, self.prefix.layout().shape()[0], self.dim), matrix(&own, end, self.dim)]
    }
}

fn matrix(x: &Host, rows: usize, columns: usize) -> Host {
    Flex::float_reshape(x.to_contiguous(), [rows, columns].into())
}

fn transposed(x: &Host) -> Host {
    Flex::float_transpose(x.clone())
}

/// `a · b`
fn product(a: &Host, b: Host) -> Host {
    Flex::float_matmul(a.clone(), b)
}

/// The attention of each query in a block to the tokens it sees: `[queries * heads, prefix]` and `[queries * heads, own]`.
struct Probabilities {
    parts: [Host; 2],
}

impl Probabilities {
    /// The softmax of the scores of queries `q` `[at.len() * heads, dim]`.
    fn new(q: &Host, k: &Part, at: &Range<usize>, sizes: &Sizes) -> Self {
        let scale = (sizes.dim as f32).powf(-0.5);
        let [mut prefix, mut own] = k.seen(at.end).map(|k| product(q, transposed(&k)));
        let heads = sizes.heads / sizes.kv_heads;
        let ([_, before], [_, width]) = (dims(&prefix), dims(&own));
        let (prefix_scores, own_scores) = (prefix.storage_mut::<f32>(), own.storage_mut::<f32>());
        vectorized(
            #[inline(always)]
            || {
                for (row, own) in own_scores.chunks_exact_mut(width).enumerate() {
                    // A token sees itself and its segment's own tokens before it.
                    let (own, hidden) = own.split_at_mut(at.start + row / heads + 1);
                    let prefix = &mut prefix_scores[row * before..][..before];
                    softmax(prefix, own, scale);
                    hidden.fill(0.0);
                }
            },
        );
        Self { parts: [prefix, own] }
    }

    /// The weighted averages of the values: `[queries * heads, dim]`.
    fn average(&self, v: &Part, end: usize) -> Host {
        let [prefix, own] = v.seen(end);
        add(product(&self.parts[0], prefix), product(&self.parts[1], own))
    }

    /// Turns the gradient with respect to the probabilities into that with respect to the scores, in place.
    fn softmax_vjp(&self, gradients: &mut [Host; 2], scale: f32) {
        let [before, width] = [0, 1].map(|i| dims::<2>(&self.parts[i])[1]);
        let [prefix_probabilities, own_probabilities] = [0, 1].map(|i| values(&self.parts[i]));
        let [prefix, own] = gradients;
        let (prefix, own) = (prefix.storage_mut::<f32>(), own.storage_mut::<f32>());
        vectorized(
            #[inline(always)]
            || {
                for (row, own) in own.chunks_exact_mut(width).enumerate() {
                    let prefix = &mut prefix[row * before..][..before];
                    let prefix_probabilities = &prefix_probabilities[row * before..][..before];
                    let own_probabilities = &own_probabilities[row * width..][..width];
                    let along = dot(prefix, prefix_probabilities) + dot(own, own_probabilities);
                    for (gradients, probabilities) in
                        [(prefix, prefix_probabilities), (own, own_probabilities)]
                    {
                        for (gradient, probability) in gradients.iter_mut().zip(probabilities) {
                            *gradient = probability * (*gradient - along) * scale;
                        }
                    }
                }
            },
        );
    }
}

/// `softmax(scale · scores)` over two slices together, in place.
#[inline(always)]
fn softmax(a: &mut [f32], b: &mut [f32], scale: f32) {
    let (largest_a, largest_b) = (max(a), max(b));
    let largest = if largest_a > largest_b { largest_a } else { largest_b };
    let mut total = 0.0;
    for scores in [&mut *a, &mut *b] {
        for score in scores.iter_mut() {
            *score = exp((*score - largest) * scale);
        }
        total += sum(
            scores,
            #[inline(always)]
            |score| score,
        );
    }
    let inverse = 1.0 / total;
    for probabilities in [a, b] {
        probabilities.iter_mut().for_each(|probability| *probability *= inverse);
    }
}

/// Gradients of a segment and a key-value head, in the form that [`Sizes::scatter`] takes; those of keys and values are in two
/// parts, for the prefix and for its own tokens.
struct Gradients {
    q: Vec<f32>,
    k: [Vec<f32>; 2],
    v: [Vec<f32>; 2],
}

fn segment_backward(
    segment: &Segment,
    q: &Part,
    k: &Part,
    v: &Part,
    gradient: &Part,
    sizes: &Sizes,
) -> Gradients {
    let scale = (sizes.dim as f32).powf(-0.5);
    let zeros = || [segment.prefix.len(), segment.own.len()].map(|tokens| vec![0.0; tokens * sizes.dim]);
    let mut found = Gradients { q: Vec::new(), k: zeros(), v: zeros() };
    for at in blocks(segment.own.len()) {
        let (q, dy) = (q.rows(at.clone()), gradient.rows(at.clone()));
        let probabilities = Probabilities::new(&q, k, &at, sizes);
        let mut scores = v.seen(at.end).map(|v| product(&dy, transposed(&v)));
        probabilities.softmax_vjp(&mut scores, scale);
        let [prefix, own] = k.seen(at.end);
        found.q.extend_from_slice(values(&add(product(&scores[0], prefix), product(&scores[1], own))));
        for i in [0, 1] {
            add_to(&mut found.k[i], &product(&transposed(&scores[i]), q.clone()));
            add_to(&mut found.v[i], &product(&transposed(&probabilities.parts[i]), dy.clone()));
        }
    }
    found
}

fn add(a: Host, b: Host) -> Host {
    Flex::float_add(a, b)
}

/// Adds to the first numbers of `sum`.
fn add_to(sum: &mut [f32], part: &Host) {
    sum.iter_mut().zip(values(part)).for_each(|(sum, part)| *sum += part);
}

fn blocks(tokens: usize) -> impl Iterator<Item = Range<usize>> {
    (0..tokens).step_by(BLOCK).map(move |start| start..(start + BLOCK).min(tokens))
}
