//! Adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::names::adapter_names;
use crate::projection::Adapter;
use crate::save::{transposed, write_file};
use crate::text_file::read_json;
use crate::transpose::transpose;
use crate::{Dtype, LoraConfig, LoraTarget, ModelError, Qwen2, TensorFile, weight_files, write_tensors};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// The parts of PEFT's configuration that decide what an adapter computes.
#[derive(Deserialize)]
struct PeftConfig {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    /// Everything else.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Options that do not change what a trained adapter computes. Any other option must be off: PEFT has many that do, and every
/// version adds new ones.
const HARMLESS: [&str; 15] = [
    "task_type",
    "base_model_name_or_path",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "inference_mode",
    "revision",
    "auto_mapping",
    "peft_version",
    "layers_pattern",
    "layers_to_transform",
    "megatron_core",
    "qalora_group_size",
    "eva_config",
    // For adapters of the embedding, whose tensors have no place in the models here.
    "ensure_weight_tying",
];

/// Initializations that leave the matrix next to the adapter unchanged.
const BEGINNINGS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// Whether an option has the value that it has by default.
fn is_off(key: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(true) => key == "init_lora_weights",
        Value::String(text) => match key {
            "bias" => text == "none",
            "init_lora_weights" => BEGINNINGS.contains(&text.as_str()),
            _ => false,
        },
        Value::Number(_) => false,
    }
}

impl PeftConfig {
    fn read(path: &Path) -> Result<Self, ModelError> {
        let config: Self = read_json(path)?;
        let refuse = |key: &str, value: String, expected: &str| {
            Err(ModelError::unsupported(path, key, value, expected))
        };
        if config.peft_type != "LORA" {
            return refuse("peft_type", config.peft_type, "only LORA can be loaded");
        }
        if config.r == 0 {
            return refuse("r", "0".into(), "an adapter has a rank of at least 1");
        }
        let other =
            config.rest.iter().find(|(key, value)| !HARMLESS.contains(&key.as_str()) && !is_off(key, value));
        if let Some((key, value)) = other {
            return refuse(
                key,
                value.to_string(),
                "only plain LoRA can be loaded: merge the adapter with PEFT",
            );
        }
        Ok(config)
    }
}

impl LoraConfig {
    /// The adapter configuration of a folder in PEFT's format. Its seed, which is not known, is 0.
    pub fn of_adapter(folder: &Path) -> Result<Self, ModelError> {
        let config = PeftConfig::read(&folder.join(CONFIG))?;
        let path = folder.join(WEIGHTS);
        if !path.exists() {
            return Err(weight_files::missing_of_adapter(&path));
        }
        let source = TensorFile::open(&path)?;
        let names: Vec<&str> = source.names().collect();
        let has = |target: &LoraTarget| {
            let part = format!(".{}.lora_A.", target.name());
            names.iter().any(|name| name.contains(&part))
        };
        let targets = LoraTarget::ALL.into_iter().filter(has).collect();
        Ok(Self { rank: config.r, alpha: config.lora_alpha, targets, seed: 0 })
    }
}

impl Qwen2 {
    /// Writes the adapters to `folder` in PEFT's format and in F32, so that PEFT can load them onto `base_model`, a folder or a
    /// Hub id. As safe as [`save`](Self::save).
    ///
    /// # Panics
    ///
    /// If the model has no adapters.
    pub fn save_adapter(&self, folder: &Path, base_model: &str) -> Result<(), ModelError> {
        assert!(self.has_lora(), "the model has no adapters to save");
        std::fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        let mut weights = Vec::new();
        for (i, target, adapter) in self.adapters() {
            let [a, b] = adapter_names(i, target);
            weights
                .extend([(a, &adapter.a), (b, &adapter.b)].map(|(name, w)| transposed(name, w, Dtype::F32)));
        }
        write_tensors(&folder.join(WEIGHTS), &weights)?;
        let config =
            serde_json::to_string_pretty(&self.peft_config(base_model)).expect("a JSON value can be written");
        write_file(&folder.join(CONFIG), config.as_bytes())
    }

    fn peft_config(&self, base_model: &str) -> Value {
        let mut targets: Vec<&str> = self.adapters().map(|(_, target, _)| target.name()).collect();
        targets.sort_unstable();
        targets.dedup();
        let (_, _, first) = self.adapters().next().expect("the model has adapters");
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_model,
            "r": first.rank(),
            "lora_alpha": first.alpha,
            "use_rslora": first.rank_stabilized,
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "target_modules": targets,
        })
    }

    /// The model with the adapters of a folder in PEFT's format, and its own weights frozen: see
    /// [`with_lora`](Self::with_lora). Any layers and projections may have adapters. A tensor that is not an adapter of this
    /// model's projections is an error, and so is a file without adapters.
    pub fn load_adapter(self, folder: &Path) -> Result<Self, ModelError> {
        let config = PeftConfig::read(&folder.join(CONFIG))?;
        let path = folder.join(WEIGHTS);
        if !path.exists() {
            return Err(weight_files::missing_of_adapter(&path));
        }
        let mut source = TensorFile::open(&path)?;
        let mut unknown: Vec<String> = source.names().map(str::to_owned).collect();
        unknown.sort_unstable();
        if unknown.is_empty() {
            return Err(ModelError::MissingTensor {
                path,
                tensor: adapter_names(0, LoraTarget::QProj)[0].clone(),
            });
        }
        let device = self.device();
        let mut failure = None;
        let model = self.adapted(|i, target, projection| {
            let [a, b] = adapter_names(i, target);
            let before = unknown.len();
            unknown.retain(|name| *name != a && *name != b);
            if failure.is_some() || unknown.len() == before {
                return None;
            }
            let [input, output] = projection.dims();
            let mut read = |name: &str, rows, columns| {
                let values = source.read(name, &[columns, rows])?;
                let values = TensorData::new(transpose(&values, columns, rows), [rows, columns]);
                Ok(Param::from_tensor(Tensor::from_data(values, &device)))
            };
            let matrices = read(&a, input, config.r).and_then(|a| Ok((a, read(&b, config.r, output)?)));
            match matrices {
                Ok((a, b)) => {
                    Some(Adapter { a, b, alpha: config.lora_alpha, rank_stabilized: config.use_rslora })
                }
                Err(error) => {
                    failure = Some(error);
                    None
                }
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        match unknown.into_iter().next() {
            Some(found) => Err(unknown_tensor(path, found)),
            None => Ok(model),
        }
    }
}

/// Why a tensor is not an adapter of the model: PEFT's name for it may include the adapter's own name, as it does in memory.
fn unknown_tensor(path: PathBuf, found: String) -> ModelError {
    let mut parts: Vec<&str> = found.split('.').collect();
    let matrix = parts.iter().position(|part| ["lora_A", "lora_B"].contains(part));
    match matrix.filter(|matrix| matrix + 3 == parts.len()) {
        Some(matrix) => {
            let name = parts.remove(matrix + 1);
            let reason = format!(
                "`{name}` is the adapter's name in memory: save it with PEFT's save_pretrained, not its state_dict"
            );
            ModelError::OtherNames { path, tensor: parts.join("."), found, reason }
        }
        None => ModelError::UnknownTensor { path, tensor: found },
    }
}
