//! Packed batches: prompts and the completions that continue them, one after the other without padding. A prompt
//! stands once, however many completions it has; they attend to its keys and values.

use std::collections::HashMap;
use std::ops::Range;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use crate::model::Attend;

/// A prompt and completions of it, as token ids.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The prompt; never empty.
    pub prompt: &'a [u32],
    /// The completions whose tokens are to be scored.
    pub completions: &'a [&'a [u32]],
}

/// A run of tokens that attend to `prefix` and, causally, to each other.
#[derive(Debug, Clone)]
struct Segment {
    prefix: Range<usize>,
    own: Range<usize>,
}

/// The layout of a packed batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packed {
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<usize>,
    segments: Vec<Segment>,
    /// For every scored token, in the order of groups, completions and tokens: where it is predicted.
    pub(crate) predictors: Vec<u32>,
    /// The scored tokens.
    pub(crate) targets: Vec<u32>,
    /// How many of them each completion has.
    pub(crate) lengths: Vec<usize>,
}

impl Packed {
    pub(crate) fn new(groups: &[Group<'_>]) -> Self {
        let mut packed = Self::default();
        for group in groups {
            packed.push(group);
        }
        packed
    }

    fn push(&mut self, group: &Group<'_>) {
        let prompt = self.append(group.prompt, 0..0, 0);
        for completion in group.completions {
            self.lengths.push(completion.len());
            let Some((_, inputs)) = completion.split_last() else { continue };
            // The last token is predicted, but predicts nothing.
            let own = self.append(inputs, prompt.clone(), group.prompt.len());
            self.predictors.push(prompt.end as u32 - 1);
            self.predictors.extend(own.map(|i| i as u32));
            self.targets.extend_from_slice(completion);
        }
    }

    fn append(&mut self, tokens: &[u32], prefix: Range<usize>, position: usize) -> Range<usize> {
        let own = self.tokens.len()..self.tokens.len() + tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend(position..position + tokens.len());
        if !own.is_empty() {
            self.segments.push(Segment { prefix, own: own.clone() });
        }
        own
    }

    /// The last position of every prompt of a batch without completions.
    pub(crate) fn ends(&self) -> Vec<u32> {
        self.segments.iter().map(|s| s.own.end as u32 - 1).collect()
    }

    /// The token range of every segment.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.segments.iter().map(|s| s.own.clone())
    }
}

/// Attention of a packed batch, segment by segment.
pub(crate) struct PackedAttention<'a> {
    packed: &'a Packed,
    masks: HashMap<(usize, usize), Tensor<4>>,
    device: Device,
}

impl<'a> PackedAttention<'a> {
    pub(crate) fn new(packed: &'a Packed, device: &Device) -> Self {
        Self { packed, masks: HashMap::new(), device: device.clone() }
    }

    /// The additive causal mask `[1, 1, own, prefix + own]` of a segment; made once for all layers.
    fn mask(&mut self, segment: &Segment) -> Tensor<4> {
        let (prefix, own) = (segment.prefix.len(), segment.own.len());
        let mask = self.masks.entry((prefix, own)).or_insert_with(|| {
            let visible = |i: usize, j: usize| if j <= prefix + i { 0.0 } else { f32::NEG_INFINITY };
            let values: Vec<f32> =
                (0..own).flat_map(|i| (0..prefix + own).map(move |j| visible(i, j))).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, own, prefix + own]), &self.device)
        });
        mask.clone()
    }
}

impl Attend for PackedAttention<'_> {
    fn attend(&mut self, _layer: usize, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<2> {
        let packed = self.packed;
        let outputs = packed
            .segments
            .iter()
            .map(|segment| {
                let own = |x: &Tensor<3>| x.clone().slice(segment.own.clone());
                let seen = |x: &Tensor<3>| match segment.prefix.is_empty() {
                    true => own(x),
                    false => Tensor::cat(vec![x.clone().slice(segment.prefix.clone()), own(x)], 0),
                };
                let mask = self.mask(segment);
                // One row of heads: [tokens, heads, dim] -> [1, heads, tokens, dim].
                let rows = |x: Tensor<3>| x.swap_dims(0, 1).unsqueeze();
                let out = attention(rows(own(&q)), rows(seen(&k)), rows(seen(&v)), Some(mask));
                merge_heads(out)
            })
            .collect();
        Tensor::cat(outputs, 0)
    }
}

/// Scaled dot-product attention with grouped key-value heads: queries `[rows, heads, tokens, dim]`, keys and values
/// `[rows, key_value_heads, seen, dim]`, mask broadcast to `[rows, 1, tokens, seen]` and added to the scores.
pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    let [rows, heads, tokens, dim] = q.dims();
    let [_, groups, seen, _] = k.dims();
    // The queries of a key-value head are stacked, so that the keys need no copies.
    let stacked = q.reshape([rows, groups, heads / groups * tokens, dim]) * (dim as f32).powf(-0.5);
    let scores = stacked.matmul(k.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores.reshape([rows, heads, tokens, seen]) + mask,
        None => scores.reshape([rows, heads, tokens, seen]),
    };
    let weights = softmax(scores, 3).reshape([rows, groups, heads / groups * tokens, seen]);
    weights.matmul(v).reshape([rows, heads, tokens, dim])
}

/// `[rows, heads, tokens, dim]` to `[rows * tokens, heads * dim]`.
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<2> {
    let [rows, heads, tokens, dim] = x.dims();
    x.swap_dims(1, 2).reshape([rows * tokens, heads * dim])
}
