//! The names of tensors in a Hugging Face folder.

use burn::module::{Param, ParamId};
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use crate::projection::{Adapter, Projection};
use crate::{LoraTarget, Qwen2, Table};

/// A weight of the model, as it is held in memory.
pub enum Weight<'a> {
    /// The matrix of a linear layer, `[in, out]`; its file has `[out, in]`.
    Matrix(&'a Param<Tensor<2>>),
    /// The embedding or the head `[vocab_size, hidden_size]`, as in its file.
    Table(&'a Table),
    /// A bias or the scale of a norm.
    Vector(&'a Param<Tensor<1>>),
}

impl Weight<'_> {
    /// The ids of the tensors that hold it, one after the other, and their numbers of values.
    pub fn parts(&self) -> Vec<(ParamId, usize)> {
        match self {
            Self::Matrix(w) => vec![(w.id, w.dims().iter().product())],
            Self::Table(table) => table.parts().iter().map(|w| (w.id, w.dims().iter().product())).collect(),
            Self::Vector(w) => vec![(w.id, w.dims()[0])],
        }
    }

    /// Its number of values.
    pub fn elements(&self) -> usize {
        self.parts().iter().map(|(_, elements)| elements).sum()
    }
}

impl Qwen2 {
    /// What is trained, by name: the adapters if there are any (with PEFT's names), or all weights.
    pub fn trained(&self) -> Vec<(String, Weight<'_>)> {
        let adapters: Vec<_> = self
            .adapters()
            .flat_map(|(i, target, Adapter { a, b, .. })| {
                let [name_a, name_b] = adapter_names(i, target);
                [(name_a, Weight::Matrix(a)), (name_b, Weight::Matrix(b))]
            })
            .collect();
        if adapters.is_empty() { self.weights() } else { adapters }
    }

    /// Every weight with its name in transformers, in the order of the forward pass; without adapters.
    pub fn weights(&self) -> Vec<(String, Weight<'_>)> {
        let mut all = vec![(EMBED_TOKENS.to_string(), Weight::Table(&self.embed_tokens))];
        for (i, block) in self.layers.iter().enumerate() {
            let (attention, mlp) = LoraTarget::ALL.split_at(4);
            let projections = |targets: &[LoraTarget]| -> Vec<_> {
                targets.iter().flat_map(|t| projection(layer(i, &t.part()), block.projection(*t))).collect()
            };
            all.push(norm(layer(i, "input_layernorm"), &block.input_layernorm));
            all.extend(projections(attention));
            if let Some(norms) = &block.self_attn.head_norms {
                all.push(norm(layer(i, Q_NORM), &norms.q_norm));
                all.push(norm(layer(i, K_NORM), &norms.k_norm));
            }
            all.push(norm(layer(i, "post_attention_layernorm"), &block.post_attention_layernorm));
            all.extend(projections(mlp));
        }
        all.push(norm(NORM.to_string(), &self.norm));
        all.extend(self.lm_head.iter().map(|head| (LM_HEAD.to_string(), Weight::Table(head))));
        all
    }
}

pub(crate) const EMBED_TOKENS: &str = "model.embed_tokens.weight";
pub(crate) const NORM: &str = "model.norm";
pub(crate) const Q_NORM: &str = "self_attn.q_norm";
pub(crate) const K_NORM: &str = "self_attn.k_norm";
pub(crate) const LM_HEAD: &str = "lm_head.weight";

/// The name of a part of decoder layer `i`.
pub(crate) fn layer(i: usize, part: &str) -> String {
    format!("model.layers.{i}.{part}")
}

fn norm(name: String, norm: &RmsNorm) -> (String, Weight<'_>) {
    (format!("{name}.weight"), Weight::Vector(&norm.gamma))
}

fn projection(name: String, projection: &Projection) -> impl Iterator<Item = (String, Weight<'_>)> {
    let bias = projection.bias.iter().map(Weight::Vector).zip(["bias"]);
    let all = std::iter::once((Weight::Matrix(&projection.weight), "weight")).chain(bias);
    all.map(move |(weight, kind)| (format!("{name}.{kind}"), weight))
}

/// The names of an adapter's two matrices.
pub(crate) fn adapter_names(i: usize, target: LoraTarget) -> [String; 2] {
    let place = layer(i, &target.part());
    ["lora_A", "lora_B"].map(|matrix| format!("base_model.model.{place}.{matrix}.weight"))
}
