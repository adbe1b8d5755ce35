use burn::tensor::{DType, Int, Tensor};
use grpo_kernels::{CachedAttention, Place, decodes_on};
use grpo_rollout::{Decoder, Draw, DrawRequest, Sampling};

use crate::device_decoding::{DeviceDecoding, draw};
use crate::model::{Attend, AttentionInput, Qwen2, Residual};
use crate::prompt::KvPrompt;

/// Keys and values of rows, in slots that are allocated once. A token's slot is its position.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<Layer>,
    /// The tokens that each row has seen.
    lens: Vec<usize>,
    /// On a device with kernels of its own, what they need.
    on_device: Option<DeviceDecoding>,
}

/// Keys and values of a layer, `[rows, key_value_heads, slots, head_dim]`.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) k: Tensor<4>,
    pub(crate) v: Tensor<4>,
}

/// Attention of new tokens, at most one per row, to their rows.
struct Step<'a> {
    attention: CachedAttention,
    layers: &'a mut [Layer],
    /// What a device with kernels needs besides, and the places of the tokens there.
    on_device: Option<(&'a DeviceDecoding, Tensor<1, Int>)>,
}

impl Attend for Step<'_> {
    fn attend(&mut self, layer: usize, input: AttentionInput<'_>) -> Tensor<2> {
        let Layer { k: cached_k, v: cached_v } = &mut self.layers[layer];
        if let Some((decoding, places)) = &self.on_device {
            return decoding.step(layer, &input, [cached_k, cached_v], places.clone());
        }
        let [q, k, v] = input.rotated();
        cached_k.inplace(|cache| self.attention.append(cache, k));
        cached_v.inplace(|cache| self.attention.append(cache, v));
        self.attention.attend(q, cached_k, cached_v)
    }
}

impl Qwen2 {
    /// The dtype that keys and values are kept in.
    pub(crate) fn kept_dtype(&self) -> DType {
        if decodes_on(&self.device()) { self.cache_dtype } else { DType::F32 }
    }
}

impl Decoder for Qwen2 {
    type Cache = KvCache;
    type Prompt = KvPrompt;

    fn context(&self) -> usize {
        self.config().max_position_embeddings
    }

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn prefill(&self, prompts: &[&[u32]], known: Option<&KvPrompt>) -> (Vec<KvPrompt>, Tensor<2>) {
        let (read, ends) = self.read(prompts, known);
        (read, self.logits(Residual::new(ends)))
    }

    fn cache(&self, rows: usize, positions: usize) -> KvCache {
        let config = self.config();
        let shape = [rows, config.num_key_value_heads, positions, config.head_dim];
        let (device, dtype) = (self.device(), self.kept_dtype());
        let empty = || Tensor::zeros(shape, (&device, dtype));
        KvCache {
            layers: (0..config.num_hidden_layers).map(|_| Layer { k: empty(), v: empty() }).collect(),
            lens: vec![0; rows],
            on_device: DeviceDecoding::new(self, positions),
        }
    }

    fn start(&self, cache: &mut KvCache, rows: &[usize], prompt: &KvPrompt) {
        for rows in rows.chunk_by(|a, b| a + 1 == *b) {
            let rows = rows[0]..rows[0] + rows.len();
            for (layer, prompt) in cache.layers.iter_mut().zip(&prompt.layers) {
                for (cache, prompt) in [(&mut layer.k, &prompt.k), (&mut layer.v, &prompt.v)] {
                    let [_, heads, tokens, dim] = prompt.dims();
                    let copies = prompt.clone().expand([rows.len(), heads, tokens, dim]);
                    let at = [rows.clone(), 0..heads, 0..tokens, 0..dim];
                    cache.inplace(|cache| cache.slice_assign(at, copies));
                }
            }
            cache.lens[rows].fill(prompt.len());
        }
    }

    fn decode(&self, cache: &mut KvCache, rows: &[usize], tokens: &[u32]) -> Tensor<2> {
        let places: Vec<Place> = rows.iter().map(|row| Place { row: *row, slot: cache.lens[*row] }).collect();
        let [.., slots, _] = cache.layers[0].k.dims();
        assert!(places.iter().all(|place| place.slot < slots), "a row of the cache is full");
        let positions: Vec<usize> = places.iter().map(|place| place.slot).collect();
        let on_device = cache.on_device.as_ref().map(|decoding| (decoding, decoding.places(&places)));
        let attention = CachedAttention::new(places);
        let step = &mut Step { attention, layers: &mut cache.layers, on_device };
        let x = self.blocks(tokens, &self.rope(&positions), step);
        rows.iter().for_each(|row| cache.lens[*row] += 1);
        self.logits(x)
    }

    fn draw(&self, logits: Tensor<2>, requests: &[DrawRequest], sampling: &Sampling) -> Vec<Option<Draw>> {
        draw(logits, requests, sampling)
    }
}
