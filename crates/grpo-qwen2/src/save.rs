use std::collections::HashMap;
use std::path::Path;

use burn::module::Param;
use burn::tensor::Tensor;
use grpo_files::write_bytes;
use serde_json::{Map, Value};

use crate::names::layer;
use crate::projection::Projection;
use crate::text_file::{check_pointer, read_json};
use crate::{Dtype, ModelError, NamedTensor, Qwen2, Weight, write_tensors};

/// Files of a model folder that training leaves unchanged.
const UNCHANGED: [&str; 8] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
];

/// The contents of a model folder other than weights: the configuration, and the tokenizer's files byte for byte.
///
/// Read when the model is loaded, so that a save at the end of a long run does not depend on files that may be gone by then.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    config: Map<String, Value>,
    unchanged: Vec<(&'static str, Vec<u8>)>,
}

impl ModelFiles {
    /// Reads the files of a model folder.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let config = read_json(&folder.join("config.json"))?;
        let mut unchanged = Vec::new();
        for name in UNCHANGED {
            let path = folder.join(name);
            if path.exists() {
                let bytes = std::fs::read(&path).map_err(ModelError::io(&path))?;
                check_pointer(&path, &bytes)?;
                unchanged.push((name, bytes));
            }
        }
        Ok(Self { config, unchanged })
    }

    /// `config.json` with the number format of the saved weights, in the same form as the original file.
    fn config(&self, dtype: Dtype) -> String {
        let mut config = self.config.clone();
        let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        let value = match dtype {
            Dtype::F32 => "float32",
            Dtype::Bf16 => "bfloat16",
        };
        config.insert(key.to_string(), value.into());
        serde_json::to_string_pretty(&config).expect("a JSON value can be written") + "\n"
    }
}

impl Qwen2 {
    /// Writes the model to `folder` in Hugging Face layout, so that transformers can load it: `model.safetensors` in the given
    /// dtype, a `config.json` that names it, and the other `files` unchanged. Adapters are merged into their matrices; use
    /// [`save_adapter`](Self::save_adapter) to save them alone.
    ///
    /// Every file is written under another name, synced and then renamed: a save that fails (on a full disk, for example)
    /// leaves the previous files unchanged.
    pub fn save(&self, files: &ModelFiles, folder: &Path, dtype: Dtype) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        write_tensors(&folder.join("model.safetensors"), &self.stored(dtype))?;
        let config = files.config(dtype);
        write_file(&folder.join("config.json"), config.as_bytes())?;
        for (name, bytes) in &files.unchanged {
            write_file(&folder.join(name), bytes)?;
        }
        Ok(())
    }
}

/// Writes a small file.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    write_bytes(path, bytes).map_err(|cause| ModelError::Io { path: path.into(), cause })
}

impl Qwen2 {
    /// Every weight as it is stored in a file, with adapters merged.
    fn stored(&self, dtype: Dtype) -> Vec<NamedTensor<'_>> {
        let mut merged: HashMap<String, &Projection> = self
            .adapters()
            .map(|(i, target, _)| {
                (format!("{}.weight", layer(i, &target.part())), self.layers[i].projection(target))
            })
            .collect();
        let stored = |(name, weight): (String, _)| match merged.remove(&name) {
            Some(projection) => {
                let [rows, columns] = projection.dims();
                NamedTensor::new(name, [columns, rows], dtype, || projection.merged().transpose())
            }
            None => unchanged(name, weight, dtype),
        };
        self.weights().into_iter().map(stored).collect()
    }
}

fn unchanged(name: String, weight: Weight<'_>, dtype: Dtype) -> NamedTensor<'_> {
    match weight {
        Weight::Matrix(w) => transposed(name, w, dtype),
        Weight::Table(w) => {
            NamedTensor::of_parts(name, w.dims(), dtype, || w.parts().iter().map(Param::val).collect())
        }
        Weight::Vector(w) => NamedTensor::new(name, w.dims(), dtype, || w.val()),
    }
}

/// A matrix as it is stored in a file.
pub(crate) fn transposed(name: String, matrix: &Param<Tensor<2>>, dtype: Dtype) -> NamedTensor<'_> {
    let [rows, columns] = matrix.dims();
    NamedTensor::new(name, [columns, rows], dtype, || matrix.val().transpose())
}
