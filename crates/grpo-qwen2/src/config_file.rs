//! `config.json`: its keys, in both forms, and the values that this crate's model does not support.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::text_file::{parse_json, read_text, shown};
use crate::{Architecture, Config, ModelError, rope, weight_files};

/// Keys that do not change what the model computes, or whose values are checked.
const KNOWN: [&str; 35] = [
    "architectures",
    "bos_token_id",
    "compression_config",
    "dtype",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "is_causal",
    "layer_types",
    "max_position_embeddings",
    "max_window_layers",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "quantization",
    "quantization_config",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
    "use_sliding_window",
    "vocab_size",
];

/// Keys under which tools record that weights are quantized.
const QUANTIZATION: [&str; 3] = ["quantization_config", "quantization", "compression_config"];

/// A key, its supported values, and why others are not supported.
type Rule<'a> = (&'a str, &'a dyn Fn(&Value) -> bool, &'a str);

/// The file, and the parts of it that describe the model.
pub(crate) struct ConfigFile {
    path: PathBuf,
    all: Map<String, Value>,
    architecture: Architecture,
    sizes: Sizes,
}

/// Keys for which null means the same as absent.
#[derive(Deserialize)]
struct Sizes {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    tie_word_embeddings: Option<bool>,
}

impl ConfigFile {
    /// Reads the file. It rejects another kind of model before it looks for sizes, which may have other names there.
    pub(crate) fn read(path: &Path) -> Result<Self, ModelError> {
        if !path.exists() {
            return Err(weight_files::missing_of_model(path));
        }
        let text = read_text(path)?;
        let all: Map<String, Value> = parse_json(path, &text)?;
        let model_type = all.get("model_type").and_then(Value::as_str).unwrap_or("missing");
        let known = Architecture::ALL.into_iter().find(|(name, _)| *name == model_type);
        let Some((_, architecture)) = known else {
            let expected = "supported are qwen2 (Qwen2 and Qwen2.5) and qwen3 (dense Qwen3)";
            return Err(ModelError::unsupported(path, "model_type", model_type, expected));
        };
        if let Some(method) = quantization(&all) {
            return Err(ModelError::Quantized { path: path.into(), method });
        }
        // Parsed from the text, so that an error has its line.
        let file = Self { path: path.into(), architecture, sizes: parse_json(path, &text)?, all };
        file.check_keys()?;
        file.check_sizes()?;
        Ok(file)
    }

    /// The model's shape, with the defaults of transformers' configuration for keys that are null.
    pub(crate) fn config(&self) -> Result<Config, ModelError> {
        let sizes = &self.sizes;
        Ok(Config {
            architecture: self.architecture,
            vocab_size: sizes.vocab_size,
            hidden_size: sizes.hidden_size,
            intermediate_size: sizes.intermediate_size,
            num_hidden_layers: sizes.num_hidden_layers,
            num_attention_heads: sizes.num_attention_heads,
            num_key_value_heads: sizes.num_key_value_heads.unwrap_or(sizes.num_attention_heads),
            head_dim: self.head_dim(),
            max_position_embeddings: sizes.max_position_embeddings.unwrap_or(32768),
            rms_norm_eps: sizes.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: rope::theta(&self.all).map_err(|[key, value, expected]| {
                ModelError::unsupported(&self.path, &key, value, &expected)
            })?,
            tie_word_embeddings: sizes.tie_word_embeddings.unwrap_or(false),
        })
    }

    /// Without the key, the heads of a Qwen2 share the width of the residual stream; Qwen3Config has a default.
    fn head_dim(&self) -> usize {
        let default = match self.architecture {
            Architecture::Qwen2 => self.sizes.hidden_size / self.sizes.num_attention_heads,
            Architecture::Qwen3 => 128,
        };
        self.sizes.head_dim.unwrap_or(default)
    }

    /// A key's value, if it is not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.all.get(key).filter(|value| !value.is_null())
    }

    fn check_keys(&self) -> Result<(), ModelError> {
        let causal = |value: &Value| value.as_str().is_some_and(|name| name.ends_with("ForCausalLM"));
        let full = |value: &Value| {
            value.as_array().is_some_and(|kinds| kinds.iter().all(|kind| kind == "full_attention"))
        };
        // transformers' Qwen2 ignores the key.
        let biased = |value: &Value| self.architecture == Architecture::Qwen2 || value == false;
        let rules: [Rule<'_>; 10] = [
            ("hidden_act", &|v| v == "silu", "Qwen2 and Qwen3 use silu"),
            ("attention_bias", &biased, "the attention of a published Qwen3 has no biases"),
            ("use_sliding_window", &|v| v == false, "only full attention is supported"),
            ("layer_types", &full, "only full attention is supported"),
            ("is_causal", &|v| v == true, "only causal attention is supported"),
            ("use_mrope", &|v| v == false, "only positions of text are supported"),
            ("is_encoder_decoder", &|v| v == false, "only a decoder alone is supported"),
            ("add_cross_attention", &|v| v == false, "only a decoder alone is supported"),
            ("pruned_heads", &|v| *v == Value::Object(Map::new()), "pruned heads are not supported"),
            (
                "architectures",
                &|v| v.as_array().is_some_and(|all| all.is_empty() || all.iter().any(causal)),
                "only a causal language model (Qwen2ForCausalLM, Qwen3ForCausalLM) can be trained",
            ),
        ];
        for (key, fits, expected) in rules {
            if let Some(value) = self.get(key).filter(|value| !fits(value)) {
                return Err(ModelError::unsupported(&self.path, key, shown(value), expected));
            }
        }
        let off = |value: &Value| value.is_null() || value == false || value.as_f64() == Some(0.0);
        // Tools keep their own notes under names that start with an underscore.
        let is_known = |key: &str| {
            key.starts_with('_') || KNOWN.contains(&key) || rules.iter().any(|rule| rule.0 == key)
        };
        let unknown = self.all.iter().filter(|(key, value)| !is_known(key) && !off(value));
        let unknown: Vec<&str> = unknown.map(|(key, _)| key.as_str()).collect();
        if !unknown.is_empty() {
            tracing::warn!("{}: keys that are not used: {}", self.path.display(), unknown.join(", "));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), ModelError> {
        let sizes = &self.sizes;
        let error = |key: &str, value: usize, expected: &str| {
            ModelError::unsupported(&self.path, key, value.to_string(), expected)
        };
        let heads = sizes.num_attention_heads;
        let kv_heads = sizes.num_key_value_heads.unwrap_or(heads);
        for (key, value) in [
            ("vocab_size", sizes.vocab_size),
            ("hidden_size", sizes.hidden_size),
            ("intermediate_size", sizes.intermediate_size),
            ("num_hidden_layers", sizes.num_hidden_layers),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("max_position_embeddings", sizes.max_position_embeddings.unwrap_or(1)),
            ("head_dim", sizes.head_dim.unwrap_or(1)),
        ] {
            // Far above any real model, and far below where a product of two of them would overflow.
            if value == 0 || value > 1 << 28 {
                return Err(error(key, value, "it must be at least 1 and at most 2^28"));
            }
        }
        if !heads.is_multiple_of(kv_heads) {
            let expected = format!("it must divide num_attention_heads ({heads})");
            return Err(error("num_key_value_heads", kv_heads, &expected));
        }
        let shares_width = sizes.head_dim.is_none() && self.architecture == Architecture::Qwen2;
        if shares_width && !sizes.hidden_size.is_multiple_of(heads) {
            let expected = format!("{heads} attention heads must divide it");
            return Err(error("hidden_size", sizes.hidden_size, &expected));
        }
        let head_dim = self.head_dim();
        if head_dim == 0 || !head_dim.is_multiple_of(2) {
            return Err(error("head_dim", head_dim, "rotary embedding needs an even width"));
        }
        match sizes.rms_norm_eps.filter(|eps| *eps < 0.0).map(|eps| eps.to_string()) {
            Some(eps) => {
                Err(ModelError::unsupported(&self.path, "rms_norm_eps", eps, "it must not be negative"))
            }
            None => Ok(()),
        }
    }
}

/// How the weights are quantized, if they are.
fn quantization(all: &Map<String, Value>) -> Option<String> {
    let (key, value) = QUANTIZATION.iter().find_map(|key| Some((*key, all.get(*key)?.as_object()?)))?;
    // In old files bitsandbytes is identified only by its keys, and MLX is never named.
    let named = value.get("quant_method").and_then(Value::as_str);
    let loads = |bits: &str| value.get(bits) == Some(&Value::Bool(true));
    let method = match named {
        Some(method) => method,
        None if loads("load_in_4bit") || loads("load_in_8bit") => "bitsandbytes",
        None if value.contains_key("group_size") && value.contains_key("bits") => "MLX",
        None => key,
    };
    let bits = value.get("bits").or(value.get("w_bit")).and_then(Value::as_u64);
    Some(bits.map_or_else(|| method.to_owned(), |bits| format!("{method}, {bits} bits")))
}
