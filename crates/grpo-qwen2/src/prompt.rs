//! Reading prompts: keys and values of all their tokens.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use grpo_kernels::{CausalAttention, Segment, decodes_on};
use grpo_rollout::PromptCompletions;

use crate::cache::Layer;
use crate::model::{Attend, AttentionInput, Qwen2, int_tensor};
use crate::packed::Packed;

/// Keys and values of a prompt.
#[derive(Debug, Clone)]
pub struct KvPrompt {
    tokens: Vec<u32>,
    /// With one row and as many slots as the prompt has tokens.
    pub(crate) layers: Vec<Layer>,
}

/// Tokens that the CPU reads at once. Products of other numbers of tokens round differently, so a prompt is always divided in the same
/// way, and what two prompts have in common is the same to the bit.
const BLOCK: usize = 256;

/// Packed attention whose keys and values are kept.
struct Prefill {
    attention: CausalAttention,
    /// The dtype that keys and values are kept in.
    dtype: DType,
    /// For each layer, keys and values `[tokens, key_value_heads, head_dim]` of tokens that have been read; empty without any.
    read: Vec<[Tensor<3>; 2]>,
    /// For each layer, those with the new tokens behind them.
    kept: Vec<[Tensor<3>; 2]>,
}

impl Attend for Prefill {
    fn attend(&mut self, layer: usize, input: AttentionInput<'_>) -> Tensor<2> {
        let [q, k, v] = input.rotated();
        let Some([read_k, read_v]) = self.read.get(layer) else {
            self.kept.push([&k, &v].map(|x| x.clone().cast(self.dtype)));
            return self.attention.attend(q, k, v);
        };
        let [tokens, ..] = read_k.dims();
        let [_, heads, dim] = q.dims();
        // No segment has these queries for its own, so that they cost nothing.
        let unused = Tensor::zeros([tokens, heads, dim], &q.device());
        let q = Tensor::cat(vec![unused, q], 0);
        let [k, v] = [(read_k, k), (read_v, v)].map(|(read, new)| Tensor::cat(vec![read.clone(), new], 0));
        self.kept.push([k.clone(), v.clone()]);
        self.attention.attend(q, k, v).slice(tokens..)
    }
}

impl KvPrompt {
    fn new(tokens: &[u32], kept: &[[Tensor<3>; 2]], at: Range<usize>) -> Self {
        let of_prompt = |x: &Tensor<3>| x.clone().slice(at.clone()).swap_dims(0, 1).unsqueeze();
        let layers = kept.iter().map(|[k, v]| Layer { k: of_prompt(k), v: of_prompt(v) }).collect();
        Self { tokens: tokens.to_vec(), layers }
    }

    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The blocks that `prompt` begins with, too: the number of their tokens and, for each layer, their keys and values
    /// `[tokens, key_value_heads, head_dim]`. The last token of `prompt` is in none of them: its output is needed.
    fn shared_with(&self, prompt: &[u32]) -> (usize, Vec<[Tensor<3>; 2]>) {
        let same = self.tokens.iter().zip(&prompt[..prompt.len() - 1]).take_while(|(a, b)| a == b).count();
        let tokens = same / BLOCK * BLOCK;
        if tokens == 0 {
            return Default::default();
        }
        let of_layer = |x: &Tensor<4>| x.clone().narrow(2, 0, tokens).squeeze_dim::<3>(0).swap_dims(0, 1);
        (tokens, self.layers.iter().map(|layer| [of_layer(&layer.k), of_layer(&layer.v)]).collect())
    }
}

impl Qwen2 {
    /// The keys and values of prompts, and the residual streams `[prompts, hidden_size]` of their last tokens.
    pub(crate) fn read(&self, prompts: &[&[u32]], known: Option<&KvPrompt>) -> (Vec<KvPrompt>, Tensor<2>) {
        if decodes_on(&self.device()) {
            return self.read_together(prompts);
        }
        let (mut read, mut ends) = (Vec::<KvPrompt>::new(), Vec::new());
        for prompt in prompts {
            let (prompt, end) = self.read_in_blocks(prompt, read.last().or(known));
            read.push(prompt);
            ends.push(end);
        }
        (read, Tensor::cat(ends, 0))
    }

    /// The keys and values of some prompts, read together, and the residual streams `[prompts, hidden_size]` of their last tokens.
    fn read_together(&self, prompts: &[&[u32]]) -> (Vec<KvPrompt>, Tensor<2>) {
        let batch: Vec<PromptCompletions<'_>> =
            prompts.iter().map(|prompt| PromptCompletions { prompt, completions: Vec::new() }).collect();
        let packed = Packed::new(&batch);
        let rope = self.rope(&packed.positions);
        let (attention, dtype) = (packed.attention(&self.device()), self.kept_dtype());
        let mut prefill = Prefill { attention, dtype, read: Vec::new(), kept: Vec::new() };
        let x = self.blocks(&packed.tokens, &rope, &mut prefill);
        let ends = x.total().select(0, int_tensor(&packed.ends(), &self.device()));
        let of_prompt = |(tokens, at): (&&[u32], _)| KvPrompt::new(tokens, &prefill.kept, at);
        (prompts.iter().zip(packed.ranges()).map(of_prompt).collect(), ends)
    }

    /// The same for one prompt, block by block, except the blocks that it shares with `known`.
    fn read_in_blocks(&self, prompt: &[u32], known: Option<&KvPrompt>) -> (KvPrompt, Tensor<2>) {
        let (device, dtype) = (self.device(), self.kept_dtype());
        let (mut start, mut kept) = known.map(|known| known.shared_with(prompt)).unwrap_or_default();
        loop {
            let end = (start + BLOCK).min(prompt.len());
            let positions: Vec<usize> = (start..end).collect();
            let segment = Segment { prefix: 0..start, own: start..end };
            let attention = CausalAttention::new(&[segment], end, &device);
            let mut prefill = Prefill { attention, dtype, read: kept, kept: Vec::new() };
            let x = self.blocks(&prompt[start..end], &self.rope(&positions), &mut prefill);
            if end == prompt.len() {
                return (KvPrompt::new(prompt, &prefill.kept, 0..end), x.total().slice(end - start - 1..));
            }
            (start, kept) = (end, prefill.kept);
        }
    }
}
