//! The Qwen2 architecture, top to bottom, with the head norms of Qwen3.
//!
//! Hidden states are packed: `[tokens, hidden_size]`, with the tokens of all sequences concatenated and without padding. Only
//! attention knows which tokens belong together. It is passed in as an [`Attend`], so that training, prefill and cached
//! decoding run the same code.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::RmsNorm;
use burn::tensor::{DType, Device, Int, Tensor};
use grpo_kernels::{CausalAttention, Rope, add_rms_norm, rms_norm};

use crate::projection::Projection;
use crate::{Config, Table};

/// How attention combines the queries, keys and values of a layer.
pub(crate) trait Attend {
    /// The heads' outputs `[tokens, heads * head_dim]`.
    fn attend(&mut self, layer: usize, input: AttentionInput<'_>) -> Tensor<2>;
}

/// What attention works on: normalized residual streams, and the projections that make queries, keys and values of them.
pub(crate) struct AttentionInput<'a> {
    pub(crate) x: Tensor<2>,
    pub(crate) projections: &'a Attention,
    rope: &'a Rope,
    config: &'a Config,
}

impl Attend for CausalAttention {
    fn attend(&mut self, _layer: usize, input: AttentionInput<'_>) -> Tensor<2> {
        let [q, k, v] = input.rotated();
        CausalAttention::attend(self, q, k, v)
    }
}

/// The residual stream `[tokens, hidden_size]`. The output of the latest layer is added to it by the next norm.
pub(crate) struct Residual {
    sum: Tensor<2>,
    term: Option<Tensor<2>>,
}

/// A causal language model: Qwen2, Qwen2.5 or dense Qwen3, as [`Config::architecture`] says.
///
/// Matrices may be stored in half precision to halve their memory; products and reductions are still computed in f32.
#[derive(Module, Debug)]
pub struct Qwen2 {
    /// `[vocab_size, hidden_size]`
    pub(crate) embed_tokens: Table,
    pub(crate) layers: Vec<Block>,
    pub(crate) norm: RmsNorm,
    /// `[vocab_size, hidden_size]`; none if the head is tied to the embedding.
    pub(crate) lm_head: Option<Table>,
    /// The dtype of cached keys and values on a device with kernels.
    #[module(skip)]
    pub(crate) cache_dtype: DType,
    #[module(skip)]
    pub(crate) config: Config,
}

/// A decoder layer: attention and MLP, each preceded by a norm and added to the residual stream.
#[derive(Module, Debug)]
pub(crate) struct Block {
    pub(crate) input_layernorm: RmsNorm,
    pub(crate) self_attn: Attention,
    pub(crate) post_attention_layernorm: RmsNorm,
    pub(crate) mlp: Mlp,
}

/// The projections of grouped-query attention. Those to queries, keys and values have a bias in Qwen2.
#[derive(Module, Debug)]
pub(crate) struct Attention {
    pub(crate) q_proj: Projection,
    pub(crate) k_proj: Projection,
    pub(crate) v_proj: Projection,
    pub(crate) o_proj: Projection,
    /// In Qwen3.
    pub(crate) head_norms: Option<HeadNorms>,
}

/// The norms of each head's queries and keys, with scales `[head_dim]` that the heads share.
#[derive(Module, Debug)]
pub(crate) struct HeadNorms {
    pub(crate) q_norm: RmsNorm,
    pub(crate) k_norm: RmsNorm,
}

/// SwiGLU.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub(crate) gate_proj: Projection,
    pub(crate) up_proj: Projection,
    pub(crate) down_proj: Projection,
}

impl Qwen2 {
    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device that holds the weights.
    pub fn device(&self) -> Device {
        self.embed_tokens.device()
    }

    /// Whether matrices are held in half precision.
    pub fn is_half(&self) -> bool {
        self.embed_tokens.dtype() != DType::F32
    }

    /// The model with its matrices rounded to BF16, for sampling: it reads half as much memory per token. On a device with
    /// kernels, it caches keys and values in BF16, too.
    pub fn to_bf16(&self) -> Self {
        self.rounded(DType::BF16)
    }

    /// The same in F16, for a device that computes with it. Values above 65,504 become infinite.
    pub fn to_f16(&self) -> Self {
        self.rounded(DType::F16)
    }

    /// The model with its embedding and its head in tensors of at most `rows` rows, as on a device that holds no larger ones.
    ///
    /// # Panics
    ///
    /// If `rows` is 0.
    pub fn with_split_tables(mut self, rows: usize) -> Self {
        self.embed_tokens = self.embed_tokens.split(rows);
        self.lm_head = self.lm_head.map(|head| head.split(rows));
        self
    }

    fn rounded(&self, dtype: DType) -> Self {
        let rounded = self.clone().no_grad().map(&mut Rounded(dtype));
        Self { cache_dtype: dtype, ..rounded }
    }

    /// The output head `[vocab_size, hidden_size]`.
    pub(crate) fn head(&self) -> &Table {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    pub(crate) fn rope(&self, positions: &[usize]) -> Rope {
        Rope::new(positions, self.config.head_dim, self.config.rope_theta)
    }

    /// The residual stream after the last layer, before the final norm.
    pub(crate) fn blocks(&self, tokens: &[u32], rope: &Rope, attend: &mut impl Attend) -> Residual {
        let embedded = Residual::new(self.embed_tokens.select(tokens));
        self.layers
            .iter()
            .enumerate()
            .fold(embedded, |x, (layer, block)| block.forward(layer, x, rope, &self.config, attend))
    }

    /// Logits `[rows, vocab_size]` of residual streams `[rows, hidden_size]`: only for the few rows that are about to be
    /// sampled from.
    pub(crate) fn logits(&self, x: Residual) -> Tensor<2> {
        self.head().product_transposed(x.normalize(&self.norm).0)
    }
}

/// Rounds matrices.
struct Rounded(DType);

impl ModuleMapper for Rounded {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D == 2 { param.map(|matrix| matrix.cast(self.0)) } else { param }
    }
}

impl Block {
    pub(crate) fn forward(
        &self,
        layer: usize,
        x: Residual,
        rope: &Rope,
        config: &Config,
        attend: &mut impl Attend,
    ) -> Residual {
        let (h, sum) = x.normalize(&self.input_layernorm);
        let input = AttentionInput { x: h, projections: &self.self_attn, rope, config };
        let attention = self.self_attn.o_proj.apply(attend.attend(layer, input));
        let (h, sum) = Residual { sum, term: Some(attention) }.normalize(&self.post_attention_layernorm);
        Residual { sum, term: Some(self.mlp.forward(h)) }
    }
}

impl Residual {
    pub(crate) fn new(sum: Tensor<2>) -> Self {
        Self { sum, term: None }
    }

    /// The stream itself.
    pub(crate) fn total(self) -> Tensor<2> {
        match self.term {
            Some(term) => self.sum + term,
            None => self.sum,
        }
    }

    /// The normalized stream, and the stream itself.
    fn normalize(self, norm: &RmsNorm) -> (Tensor<2>, Tensor<2>) {
        let Self { sum, term } = self;
        match term {
            Some(term) => {
                let (sum, h) = add_rms_norm(sum, term, norm.gamma.val(), norm.epsilon);
                (h, sum)
            }
            None => (normalize(norm, sum.clone()), sum),
        }
    }
}

impl Attention {
    /// The projections to queries, keys and values.
    pub(crate) fn qkv(&self) -> [&Projection; 3] {
        [&self.q_proj, &self.k_proj, &self.v_proj]
    }

    /// Queries, keys and values `[tokens, heads * head_dim]`, the first two normalized head by head if the model does that.
    fn normalize_heads(&self, [q, k, v]: [Tensor<2>; 3], head_dim: usize) -> [Tensor<2>; 3] {
        let Some(HeadNorms { q_norm, k_norm }) = &self.head_norms else { return [q, k, v] };
        let normalized = |norm, x: Tensor<2>| {
            let [tokens, width] = x.dims();
            normalize(norm, x.reshape([tokens * width / head_dim, head_dim])).reshape([tokens, width])
        };
        [normalized(q_norm, q), normalized(k_norm, k), v]
    }
}

impl AttentionInput<'_> {
    /// Queries `[tokens, heads, head_dim]`, keys and values `[tokens, key_value_heads, head_dim]`, with positions applied.
    pub(crate) fn rotated(self) -> [Tensor<3>; 3] {
        let Self { x, projections, rope, config } = self;
        let [tokens, _] = x.dims();
        let qkv = projections.qkv().map(|projection| projection.apply(x.clone()));
        let [q, k, v] = projections.normalize_heads(qkv, config.head_dim);
        let heads = |x: Tensor<2>, n| x.reshape([tokens, n, config.head_dim]);
        let q = rope.apply(heads(q, config.num_attention_heads));
        let k = rope.apply(heads(k, config.num_key_value_heads));
        [q, k, heads(v, config.num_key_value_heads)]
    }

    /// Queries, keys and values side by side, with the head norms applied to the first two.
    pub(crate) fn normalize_joined(&self, qkv: Tensor<2>) -> Tensor<2> {
        if self.projections.head_norms.is_none() {
            return qkv;
        }
        let widths = self.projections.qkv().map(|projection| projection.dims()[1]);
        let parts = qkv.split_with_sizes(widths.to_vec(), 1).try_into().expect("there are three widths");
        Tensor::cat(self.projections.normalize_heads(parts, self.config.head_dim).to_vec(), 1)
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (gate, up) = (self.gate_proj.apply(x.clone()), self.up_proj.apply(x));
        self.down_proj.apply_gated(gate, up)
    }
}

/// Root mean square normalization of each row.
pub(crate) fn normalize(norm: &RmsNorm, x: Tensor<2>) -> Tensor<2> {
    rms_norm(x, norm.gamma.val(), norm.epsilon)
}

/// Token ids or indices as a tensor.
pub(crate) fn int_tensor(values: &[u32], device: &Device) -> Tensor<1, Int> {
    grpo_kernels::int_tensor(values.iter().map(|value| *value as usize), device)
}
