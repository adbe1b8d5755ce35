use burn::tensor::{DType, Tensor};
use grpo_kernels::{CachedAttention, CausalAttention};
use grpo_rollout::{Decoder, Draw, DrawRequest, PromptCompletions, Sampling};

use crate::device_decoding::{DeviceDecoding, draw};
use crate::model::{Attend, AttentionInput, Qwen2, Residual, int_tensor};
use crate::packed::Packed;

/// Keys and values of the rows of a batch, in slots that are allocated once.
///
/// All rows end at the same slot: a shorter prompt starts later, and the slots before it are masked.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<Layer>,
    /// The first slot of each row.
    starts: Vec<usize>,
    /// Slots in use.
    len: usize,
    /// On a device with kernels of its own, what they need.
    on_device: Option<DeviceDecoding>,
}

/// Keys and values of a layer, `[rows, key_value_heads, slots, head_dim]`.
#[derive(Debug, Clone)]
struct Layer {
    k: Tensor<4>,
    v: Tensor<4>,
}

impl Layer {
    /// Writes keys and values `[1 or rows, key_value_heads, tokens, head_dim]` in place, starting at `row` and `slot`.
    fn write(&mut self, row: usize, slot: usize, k: Tensor<4>, v: Tensor<4>) {
        for (cache, new) in [(&mut self.k, k), (&mut self.v, v)] {
            let [rows, heads, tokens, dim] = new.dims();
            let new = new.cast(cache.dtype());
            cache.inplace(|c| c.slice_assign([row..row + rows, 0..heads, slot..slot + tokens, 0..dim], new));
        }
    }
}

/// Packed attention that also caches keys and values.
struct Prefill<'a> {
    attention: CausalAttention,
    packed: &'a Packed,
    cache: &'a mut KvCache,
}

impl Attend for Prefill<'_> {
    fn attend(&mut self, layer: usize, input: AttentionInput<'_>) -> Tensor<2> {
        let [q, k, v] = input.rotated();
        for (row, range) in self.packed.ranges().enumerate() {
            let tokens = |x: &Tensor<3>| x.clone().slice(range.clone()).swap_dims(0, 1).unsqueeze();
            self.cache.layers[layer].write(row, self.cache.starts[row], tokens(&k), tokens(&v));
        }
        self.attention.attend(q, k, v)
    }
}

/// Attention of one new token per row to that row's cache.
struct Step<'a> {
    attention: CachedAttention,
    cache: &'a mut KvCache,
}

impl Attend for Step<'_> {
    fn attend(&mut self, layer: usize, input: AttentionInput<'_>) -> Tensor<2> {
        let slot = self.cache.len;
        let cached = &mut self.cache.layers[layer];
        if let Some(on_device) = &self.cache.on_device {
            return on_device.step(layer, &input, [&mut cached.k, &mut cached.v], slot);
        }
        let [q, k, v] = input.rotated();
        cached.write(0, slot, k.unsqueeze_dim(2), v.unsqueeze_dim(2));
        self.attention.attend(q, &cached.k, &cached.v)
    }
}

impl KvCache {
    fn new(model: &Qwen2, prompts: &[&[u32]], capacity: usize) -> Self {
        let config = model.config();
        let len = prompts.iter().map(|p| p.len()).max().unwrap_or(0);
        let shape = [prompts.len(), config.num_key_value_heads, len + capacity, config.head_dim];
        let device = model.device();
        let starts: Vec<usize> = prompts.iter().map(|p| len - p.len()).collect();
        let on_device = DeviceDecoding::new(model, &starts, len + capacity);
        let dtype = if on_device.is_some() { model.cache_dtype } else { DType::F32 };
        let empty = || Tensor::zeros(shape, (&device, dtype));
        Self {
            layers: (0..config.num_hidden_layers).map(|_| Layer { k: empty(), v: empty() }).collect(),
            on_device,
            starts,
            len,
        }
    }
}

impl Decoder for Qwen2 {
    type Cache = KvCache;

    fn context(&self) -> usize {
        self.config().max_position_embeddings
    }

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn prefill(&self, prompts: &[&[u32]], capacity: usize) -> (KvCache, Tensor<2>) {
        let batch: Vec<PromptCompletions<'_>> =
            prompts.iter().map(|prompt| PromptCompletions { prompt, completions: Vec::new() }).collect();
        let packed = Packed::new(&batch);
        let mut cache = KvCache::new(self, prompts, capacity);
        let rope = self.rope(&packed.positions);
        let attention = packed.attention(&self.device());
        let x = self.blocks(
            &packed.tokens,
            &rope,
            &mut Prefill { attention, packed: &packed, cache: &mut cache },
        );
        let last = x.total().select(0, int_tensor(&packed.ends(), &self.device()));
        (cache, self.logits(Residual::new(last)))
    }

    fn decode(&self, tokens: &[u32], cache: &mut KvCache) -> Tensor<2> {
        let positions: Vec<usize> = cache.starts.iter().map(|start| cache.len - start).collect();
        let attention = CachedAttention::new(cache.starts.clone(), cache.len + 1);
        let x = self.blocks(tokens, &self.rope(&positions), &mut Step { attention, cache });
        cache.len += 1;
        self.logits(x)
    }

    fn select(&self, cache: KvCache, rows: &[usize]) -> KvCache {
        let ids: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
        let ids = int_tensor(&ids, &self.device());
        let pick = |x: Tensor<4>| x.select(0, ids.clone());
        KvCache {
            layers: cache.layers.into_iter().map(|l| Layer { k: pick(l.k), v: pick(l.v) }).collect(),
            starts: rows.iter().map(|row| cache.starts[*row]).collect(),
            len: cache.len,
            on_device: cache.on_device.map(|on_device| on_device.select(ids.clone())),
        }
    }

    fn draw(&self, logits: Tensor<2>, requests: &[DrawRequest], sampling: &Sampling) -> Vec<Option<Draw>> {
        draw(logits, requests, sampling)
    }
}
