//! The names that tensors have in a Hugging Face folder.

use burn::module::Param;
use burn::nn::{Linear, RmsNorm};
use burn::tensor::Tensor;

use crate::Qwen2;

/// A weight of the model, as it is held in memory.
pub enum Weight<'a> {
    /// A linear layer's matrix `[in, out]`; its file has `[out, in]`.
    Matrix(&'a Param<Tensor<2>>),
    /// The embedding or the head `[vocab_size, hidden_size]`, as in its file.
    Table(&'a Param<Tensor<2>>),
    /// A bias or the scale of a norm.
    Vector(&'a Param<Tensor<1>>),
}

impl Qwen2 {
    /// Every weight with the name that transformers gives it, in the order of the forward pass.
    pub fn weights(&self) -> Vec<(String, Weight<'_>)> {
        let mut all = vec![(EMBED_TOKENS.to_string(), Weight::Table(&self.embed_tokens))];
        for (i, block) in self.layers.iter().enumerate() {
            let attn = &block.self_attn;
            all.push(norm(layer(i, "input_layernorm"), &block.input_layernorm));
            for (name, linear) in [
                ("self_attn.q_proj", &attn.q_proj),
                ("self_attn.k_proj", &attn.k_proj),
                ("self_attn.v_proj", &attn.v_proj),
                ("self_attn.o_proj", &attn.o_proj),
            ] {
                push_linear(&mut all, layer(i, name), linear);
            }
            all.push(norm(layer(i, "post_attention_layernorm"), &block.post_attention_layernorm));
            let mlp = &block.mlp;
            for (name, linear) in [
                ("mlp.gate_proj", &mlp.gate_proj),
                ("mlp.up_proj", &mlp.up_proj),
                ("mlp.down_proj", &mlp.down_proj),
            ] {
                push_linear(&mut all, layer(i, name), linear);
            }
        }
        all.push(norm(NORM.to_string(), &self.norm));
        all.extend(self.lm_head.iter().map(|head| (LM_HEAD.to_string(), Weight::Table(head))));
        all
    }
}

pub(crate) const EMBED_TOKENS: &str = "model.embed_tokens.weight";
pub(crate) const NORM: &str = "model.norm";
pub(crate) const LM_HEAD: &str = "lm_head.weight";

/// The name of a part of decoder layer `i`.
pub(crate) fn layer(i: usize, part: &str) -> String {
    format!("model.layers.{i}.{part}")
}

fn norm(name: String, norm: &RmsNorm) -> (String, Weight<'_>) {
    (format!("{name}.weight"), Weight::Vector(&norm.gamma))
}

fn push_linear<'a>(all: &mut Vec<(String, Weight<'a>)>, name: String, linear: &'a Linear) {
    all.push((format!("{name}.weight"), Weight::Matrix(&linear.weight)));
    all.extend(linear.bias.iter().map(|bias| (format!("{name}.bias"), Weight::Vector(bias))));
}
