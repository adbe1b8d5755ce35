//! Attention of packed sequences.
//!
//! In the composed form, segments of similar length are gathered into padded tiles, so that the number of operations does not
//! grow with the number of completions.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor};

use crate::{float_tensor, int_tensor, matmul};

/// A run of tokens that attend to `prefix` and, causally, to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Tokens that all of its own tokens see.
    pub prefix: Range<usize>,
    /// Its own tokens; never empty.
    pub own: Range<usize>,
}

/// Scaled dot-product attention of packed sequences, with grouped key-value heads.
pub struct CausalAttention {
    segments: Arc<Vec<Segment>>,
    /// None if a kernel takes the segments directly.
    tiled: Option<Tiled>,
}

impl CausalAttention {
    /// Attention of `tokens` tokens, each of which belongs to at most one segment as its own; the outputs of other tokens are undefined.
    pub fn new(segments: &[Segment], tokens: usize, device: &Device) -> Self {
        let in_memory = cfg!(feature = "flex") && in_memory(device);
        let tiled = (!in_memory).then(|| Tiled::new(segments, tokens, device));
        Self { segments: Arc::new(segments.to_vec()), tiled }
    }

    /// Maps queries `[tokens, heads, head_dim]`, keys and values `[tokens, key_value_heads, head_dim]`, all in f32, to
    /// `[tokens, heads * head_dim]`.
    pub fn attend(&self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<2> {
        match &self.tiled {
            Some(tiled) => tiled.attend(&q, &k, &v),
            None => kernel(q, k, v, &self.segments),
        }
    }
}

#[cfg(feature = "flex")]
use crate::cpu::{causal_attention as kernel, is_host as in_memory};

#[cfg(not(feature = "flex"))]
fn in_memory(_device: &Device) -> bool {
    false
}

#[cfg(not(feature = "flex"))]
fn kernel(_q: Tensor<3>, _k: Tensor<3>, _v: Tensor<3>, _segments: &Arc<Vec<Segment>>) -> Tensor<2> {
    unreachable!("without the kernels all attention is tiled")
}

/// The most scores that a tile has per head, padding included, unless a single segment has more.
const TILE: usize = 1 << 20;

/// The composed form.
struct Tiled {
    tiles: Vec<Tile>,
    /// For every token, the position of its output among the outputs of all tiles.
    places: Tensor<1, Int>,
}

/// Segments that are computed together, padded to the longest.
struct Tile {
    rows: usize,
    /// The tokens of the queries, `[rows * own]`, and those of the keys, `[rows * seen]`. Padding repeats a token.
    queries: Tensor<1, Int>,
    keys: Tensor<1, Int>,
    /// Added to the scores: `[rows, 1, own, seen]`; causal, and masks the padding of the keys.
    mask: Tensor<4>,
}

impl Tiled {
    fn new(segments: &[Segment], tokens: usize, device: &Device) -> Self {
        let mut places = vec![0; tokens];
        let mut start = 0;
        let mut tiles = Vec::new();
        for segments in plan(segments) {
            let own = longest(&segments, Segment::own_len);
            for segment in &segments {
                for (i, token) in segment.own.clone().enumerate() {
                    places[token] = start + i;
                }
                start += own;
            }
            tiles.push(Tile::new(&segments, device));
        }
        Self { tiles, places: int_tensor(places.into_iter(), device) }
    }

    fn attend(&self, q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>) -> Tensor<2> {
        let outputs = self.tiles.iter().map(|tile| tile.attend(q, k, v)).collect();
        Tensor::cat(outputs, 0).select(0, self.places.clone())
    }
}

impl Tile {
    fn new(segments: &[&Segment], device: &Device) -> Self {
        let (own, seen) = (longest(segments, Segment::own_len), longest(segments, Segment::seen_len));
        let (mut queries, mut keys, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        for segment in segments {
            queries.extend(padded(segment.own.clone(), own));
            keys.extend(padded(segment.prefix.clone().chain(segment.own.clone()), seen));
            for i in 0..own {
                // A padding row sees what the last token sees: every row has a key.
                let visible = segment.prefix.len() + i.min(segment.own.len() - 1) + 1;
                mask.extend((0..seen).map(|j| if j < visible { 0.0 } else { f32::NEG_INFINITY }));
            }
        }
        let rows = segments.len();
        Self {
            rows,
            queries: int_tensor(queries.into_iter(), device),
            keys: int_tensor(keys.into_iter(), device),
            mask: float_tensor(mask, [rows, 1, own, seen], device),
        }
    }

    /// The outputs `[rows * own, heads * head_dim]`.
    fn attend(&self, q: &Tensor<3>, k: &Tensor<3>, v: &Tensor<3>) -> Tensor<2> {
        // [tokens, heads, dim] -> [rows, heads, own or seen, dim]
        let gather = |x: &Tensor<3>, tokens: &Tensor<1, Int>| {
            let [_, heads, dim] = x.dims();
            let n = tokens.dims()[0] / self.rows;
            x.clone().select(0, tokens.clone()).reshape([self.rows, n, heads, dim]).swap_dims(1, 2)
        };
        let (k, v) = (gather(k, &self.keys), gather(v, &self.keys));
        merge_heads(attention(gather(q, &self.queries), k, v, Some(self.mask.clone())))
    }
}

/// Which segments share a tile: in order of length, each joins the previous one as long as the tile does not hold too many
/// scores, and padding is at most a third of them.
fn plan(segments: &[Segment]) -> Vec<Vec<&Segment>> {
    let mut sorted: Vec<&Segment> = segments.iter().collect();
    sorted.sort_by_key(|segment| (segment.seen_len(), segment.own_len()));
    let mut tiles: Vec<Vec<&Segment>> = Vec::new();
    let (mut own, mut scores) = (0, 0);
    for segment in sorted {
        let joined = scores + segment.own_len() * segment.seen_len();
        if let Some(tile) = tiles.last_mut() {
            let padded = (tile.len() + 1) * own.max(segment.own_len()) * segment.seen_len();
            if padded <= TILE && 2 * padded <= 3 * joined {
                (own, scores) = (own.max(segment.own_len()), joined);
                tile.push(segment);
                continue;
            }
        }
        (own, scores) = (segment.own_len(), segment.own_len() * segment.seen_len());
        tiles.push(vec![segment]);
    }
    tiles
}

impl Segment {
    fn own_len(&self) -> usize {
        self.own.len()
    }

    fn seen_len(&self) -> usize {
        self.prefix.len() + self.own.len()
    }
}

fn longest(segments: &[&Segment], length: fn(&Segment) -> usize) -> usize {
    segments.iter().map(|segment| length(segment)).max().expect("a tile has a segment")
}

/// Token indices, with the last one repeated until there are `n`.
fn padded(tokens: impl Iterator<Item = usize> + Clone, n: usize) -> impl Iterator<Item = usize> {
    let last = tokens.clone().last().expect("a segment has a token");
    tokens.chain(std::iter::repeat(last)).take(n)
}

/// Scaled dot-product attention with grouped key-value heads: queries `[rows, heads, tokens, dim]`, keys and values
/// `[rows, key_value_heads, seen, dim]`, mask broadcast to `[rows, 1, tokens, seen]` and added to the scores.
pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    let [rows, heads, tokens, dim] = q.dims();
    let [_, kv_heads, seen, _] = k.dims();
    // The queries of a key-value head are stacked, so that the keys need not be copied.
    let stacked = q.reshape([rows, kv_heads, heads / kv_heads * tokens, dim]) * (dim as f32).powf(-0.5);
    let scores = matmul(stacked, k.swap_dims(2, 3));
    let scores = match mask {
        Some(mask) => scores.reshape([rows, heads, tokens, seen]) + mask,
        None => scores.reshape([rows, heads, tokens, seen]),
    };
    let probabilities = softmax(scores, 3).reshape([rows, kv_heads, heads / kv_heads * tokens, seen]);
    matmul(probabilities, v).reshape([rows, heads, tokens, dim])
}

/// `[rows, heads, tokens, dim]` to `[rows * tokens, heads * dim]`.
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<2> {
    let [rows, heads, tokens, dim] = x.dims();
    x.swap_dims(1, 2).reshape([rows * tokens, heads * dim])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths (prefix, own) of the segments of every tile.
    fn check(lengths: &[(usize, usize)], expected: &[&[(usize, usize)]]) {
        let segments: Vec<Segment> =
            lengths.iter().map(|(prefix, own)| Segment { prefix: 0..*prefix, own: 0..*own }).collect();
        let found: Vec<Vec<_>> = plan(&segments)
            .iter()
            .map(|tile| tile.iter().map(|s| (s.prefix.len(), s.own.len())).collect())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn segments_of_about_the_same_length_share_a_tile() {
        check(&[], &[]);
        check(&[(0, 9), (9, 4), (9, 4), (0, 10)], &[&[(0, 9), (0, 10)], &[(9, 4), (9, 4)]]);
        // A short segment would be mostly padding.
        check(&[(0, 100), (0, 1), (0, 99)], &[&[(0, 1)], &[(0, 99), (0, 100)]]);
    }

    #[test]
    fn a_tile_holds_a_bounded_number_of_scores() {
        let long = (0, 800);
        check(&[long; 3], &[&[long], &[long], &[long]]);
        check(&[(0, 2000)], &[&[(0, 2000)]]);
        let short = (0, 500);
        check(&[short; 5], &[&[short; 4], &[short]]);
    }

    #[cfg(feature = "flex")]
    #[test]
    fn the_kernel_is_what_it_is_composed_of() {
        use crate::tests::{check3, matrix};
        // A prompt with two completions, one of them longer than a block of queries, and a prompt without completions.
        let ranges = [(0..0, 0..9), (0..9, 9..80), (0..9, 80..81), (0..0, 81..150)];
        let segments = ranges.map(|(prefix, own)| Segment { prefix, own });
        let device = grpo_test_device::device();
        let tiled = Tiled::new(&segments, 150, &device);
        for (heads, kv_heads, dim) in [(2, 1, 4), (4, 2, 16), (14, 2, 64)] {
            let part = |seed, heads: usize| matrix(seed, [150, heads * dim], 2.0).reshape([150, heads, dim]);
            let fused = CausalAttention::new(&segments, 150, &device);
            check3(
                "attention",
                |q, k, v| fused.attend(q, k, v),
                |q, k, v| tiled.attend(&q, &k, &v),
                [part(1, heads), part(2, kv_heads), part(3, kv_heads)],
                3e-5,
            );
        }
    }
}
