use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config_file::ConfigFile;
use crate::{LoraConfig, LoraTarget, ModelError};

/// Which models a decoder computes (`model_type`). They differ in what queries and keys are made of; all else is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Qwen2 and Qwen2.5: the projections to queries, keys and values have a bias.
    #[default]
    Qwen2,
    /// Dense Qwen3: these projections have no bias, and the queries and keys of each head are normalized (RMSNorm) before their
    /// positions are applied.
    Qwen3,
}

impl Architecture {
    /// All of them, with their names in `config.json`.
    pub(crate) const ALL: [(&str, Self); 2] = [("qwen2", Self::Qwen2), ("qwen3", Self::Qwen3)];
}

/// The shape of a Qwen2 or Qwen3 model, as specified by `config.json`.
///
/// Both forms are supported: that of the published checkpoints (`rope_theta`) and that of transformers 5 (`rope_parameters`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What queries and keys are made of.
    #[serde(default)]
    pub architecture: Architecture,
    /// Rows of the embedding; at least the number of tokens of the tokenizer.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key-value heads; divides the number of query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// The most positions a sequence may have.
    pub max_position_embeddings: usize,
    /// Added to the mean square under the square root of RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary position embedding.
    pub rope_theta: f64,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
}

impl Config {
    /// The shape of Qwen2.5-0.5B, for measurements without its weights.
    pub fn qwen2_5_0_5b() -> Self {
        Self {
            architecture: Architecture::Qwen2,
            vocab_size: 151_936,
            hidden_size: 896,
            intermediate_size: 4864,
            num_hidden_layers: 24,
            num_attention_heads: 14,
            num_key_value_heads: 2,
            head_dim: 64,
            max_position_embeddings: 32_768,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            tie_word_embeddings: true,
        }
    }

    /// The number of weights of a model of this shape.
    pub fn parameters(&self) -> usize {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        let matrices: usize = LoraTarget::ALL.map(|t| self.projection(t)).iter().map(|[i, o]| i * o).sum();
        let heads = self.num_attention_heads + 2 * self.num_key_value_heads;
        let of_heads = match self.architecture {
            Architecture::Qwen2 => heads * self.head_dim,
            Architecture::Qwen3 => 2 * self.head_dim,
        };
        let layer = matrices + of_heads + 2 * self.hidden_size;
        tables * self.vocab_size * self.hidden_size + self.num_hidden_layers * layer + self.hidden_size
    }

    /// The number of weights of the adapters that `lora` describes.
    pub fn adapter_parameters(&self, lora: &LoraConfig) -> usize {
        let of_layer: usize = lora.targets.iter().map(|t| self.projection(*t)).map(|[i, o]| i + o).sum();
        self.num_hidden_layers * lora.rank * of_layer
    }

    /// The number of keys and values per token, over all layers.
    pub fn cached_per_token(&self) -> usize {
        2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim
    }

    /// Width of the input and the output of a linear layer.
    pub(crate) fn projection(&self, target: LoraTarget) -> [usize; 2] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = (self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim);
        match target {
            LoraTarget::QProj => [hidden, q],
            LoraTarget::KProj | LoraTarget::VProj => [hidden, kv],
            LoraTarget::OProj => [q, hidden],
            LoraTarget::GateProj | LoraTarget::UpProj => [hidden, inner],
            LoraTarget::DownProj => [inner, hidden],
        }
    }

    /// The number of values of the largest matrix of a layer: a linear layer, or those to queries, keys and values side by side.
    pub fn largest_matrix(&self) -> usize {
        let size = |target| self.projection(target).into_iter().product();
        let [hidden, q] = self.projection(LoraTarget::QProj);
        let [_, kv] = self.projection(LoraTarget::KProj);
        LoraTarget::ALL.map(size).into_iter().fold(hidden * (q + 2 * kv), usize::max)
    }

    /// Reads a `config.json`. A value that describes a different model from the one this crate computes is an error; an unused
    /// key (`attention_dropout`, for example, or an unknown one) is named in a warning.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        ConfigFile::read(path)?.config()
    }
}
