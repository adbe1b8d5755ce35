use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::json::read_json;
use crate::{LoraConfig, LoraTarget, ModelError};

/// The shape of a Qwen2 model: what `config.json` says.
///
/// Both forms are read: that of the published checkpoints (`rope_theta`) and that of transformers 5
/// (`rope_parameters`).
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
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
    /// Added to the mean square under the root of RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary position embedding.
    pub rope_theta: f64,
    /// Whether the output head is the embedding.
    pub tie_word_embeddings: bool,
}

/// The file's keys, of both forms.
#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    #[serde(default = "max_position_embeddings")]
    max_position_embeddings: usize,
    #[serde(default = "rms_norm_eps")]
    rms_norm_eps: f64,
    hidden_act: Option<String>,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<Value>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    use_sliding_window: bool,
    layer_types: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The older name of `rope_type`.
    r#type: Option<String>,
}

// What transformers' Qwen2Config takes for a key that is not there.
fn max_position_embeddings() -> usize {
    32768
}

fn rms_norm_eps() -> f64 {
    1e-6
}

impl Config {
    /// Weights of a model of this shape.
    pub fn parameters(&self) -> usize {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        let matrices: usize = LoraTarget::ALL.map(|t| self.projection(t)).iter().map(|[i, o]| i * o).sum();
        let biases = (self.num_attention_heads + 2 * self.num_key_value_heads) * self.head_dim;
        let layer = matrices + biases + 2 * self.hidden_size;
        tables * self.vocab_size * self.hidden_size + self.num_hidden_layers * layer + self.hidden_size
    }

    /// Weights of the adapters that `lora` asks for.
    pub fn adapter_parameters(&self, lora: &LoraConfig) -> usize {
        let of_layer: usize = lora.targets.iter().map(|t| self.projection(*t)).map(|[i, o]| i + o).sum();
        self.num_hidden_layers * lora.rank * of_layer
    }

    /// Keys and values of a token, in all layers together.
    pub fn cached_per_token(&self) -> usize {
        2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim
    }

    /// Width of the input and of the output of a linear layer.
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

    /// Reads a `config.json`.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let raw: Raw = read_json(path)?;
        raw.check(path)?;
        Ok(Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            num_key_value_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_dim: raw.head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads),
            max_position_embeddings: raw.max_position_embeddings,
            rms_norm_eps: raw.rms_norm_eps,
            rope_theta: raw.rope_theta(),
            tie_word_embeddings: raw.tie_word_embeddings,
        })
    }
}

impl Raw {
    fn check(&self, path: &Path) -> Result<(), ModelError> {
        let unsupported = |key: &str, value: String, expected: &str| {
            let (key, expected) = (key.into(), expected.into());
            Err(ModelError::Unsupported { path: path.into(), key, value, expected })
        };
        let model_type = self.model_type.as_deref().unwrap_or("missing");
        if model_type != "qwen2" {
            return unsupported(
                "model_type",
                model_type.into(),
                "this crate implements qwen2 (Qwen2 and Qwen2.5)",
            );
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|act| *act != "silu") {
            return unsupported("hidden_act", act.into(), "Qwen2 uses silu");
        }
        if self.use_sliding_window {
            return unsupported("use_sliding_window", "true".into(), "only full attention is supported");
        }
        if let Some(kind) = self.layer_types.iter().flatten().find(|kind| *kind != "full_attention") {
            return unsupported("layer_types", kind.clone(), "only full attention is supported");
        }
        let rope_types =
            self.rope_parameters.iter().flat_map(|rope| [&rope.rope_type, &rope.r#type]).flatten();
        if let Some(kind) = rope_types.into_iter().find(|kind| *kind != "default") {
            return unsupported("rope_parameters.rope_type", kind.clone(), "only `default` is supported");
        }
        if let Some(scaling) = self.rope_scaling.as_ref().filter(|s| !s.is_null()) {
            return unsupported("rope_scaling", scaling.to_string(), "only unscaled positions are supported");
        }
        if self.rope_theta() <= 0.0 {
            return unsupported("rope_theta", self.rope_theta().to_string(), "it must be above 0");
        }
        if self.rms_norm_eps < 0.0 {
            return unsupported("rms_norm_eps", self.rms_norm_eps.to_string(), "it must not be negative");
        }
        self.check_sizes(path)
    }

    fn rope_theta(&self) -> f64 {
        let nested = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        nested.or(self.rope_theta).unwrap_or(10_000.0)
    }

    fn check_sizes(&self, path: &Path) -> Result<(), ModelError> {
        let error = |key: &str, value: usize, expected: String| {
            let (key, value) = (key.into(), value.to_string());
            Err(ModelError::Unsupported { path: path.into(), key, value, expected })
        };
        let heads = self.num_attention_heads;
        let groups = self.num_key_value_heads.unwrap_or(heads);
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", heads),
            ("num_key_value_heads", groups),
            ("max_position_embeddings", self.max_position_embeddings),
            ("head_dim", self.head_dim.unwrap_or(1)),
        ] {
            // Far above any real model, and far below where a product of two would overflow.
            if value == 0 || value > 1 << 28 {
                return error(key, value, "it must be at least 1 and at most 2^28".into());
            }
        }
        if !heads.is_multiple_of(groups) {
            return error(
                "num_key_value_heads",
                groups,
                format!("it must divide num_attention_heads ({heads})"),
            );
        }
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(heads) {
            return error("hidden_size", self.hidden_size, format!("{heads} attention heads must divide it"));
        }
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / heads);
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return error("head_dim", head_dim, "rotary embedding needs an even width".into());
        }
        Ok(())
    }
}
