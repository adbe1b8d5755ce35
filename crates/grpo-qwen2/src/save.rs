use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use half::bf16;
use safetensors::tensor::{Dtype, SafeTensorError, View};
use serde_json::{Map, Value};

use crate::json::read_json;
use crate::names::Weight;
use crate::{ModelError, Precision, Qwen2};

/// Files of a model folder that training does not change.
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

impl Qwen2 {
    /// Writes the model to `folder` in Hugging Face layout, so that transformers loads it: `model.safetensors` in
    /// the given precision, `config.json` saying so, and the tokenizer's files as they are in `source`, the folder
    /// the model was loaded from.
    ///
    /// Every file is written under another name, synced and then renamed: a save that fails (a full disk, say) leaves
    /// what was there before.
    pub fn save(&self, source: &Path, folder: &Path, precision: Precision) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        let tensors = self.weights().into_iter().map(|(name, weight)| (name, Stored { weight, precision }.sized()));
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        write_atomically(&folder.join("model.safetensors"), |path| {
            safetensors::serialize_to_file(tensors, Some(metadata), path).map_err(|e| match e {
                SafeTensorError::IoError(source) => source,
                other => std::io::Error::other(other.to_string()),
            })
        })?;
        let config = saved_config(&source.join("config.json"), precision)?;
        write_atomically(&folder.join("config.json"), |path| std::fs::write(path, config))?;
        for name in UNCHANGED {
            let from = source.join(name);
            if from.exists() {
                write_atomically(&folder.join(name), |path| std::fs::copy(from, path).map(drop))?;
            }
        }
        Ok(())
    }
}

/// The source's `config.json` with the number format of the saved weights, in the form that the file has.
fn saved_config(source: &Path, precision: Precision) -> Result<String, ModelError> {
    let mut config: Map<String, Value> = read_json(source)?;
    let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
    let dtype = match precision {
        Precision::F32 => "float32",
        Precision::Bf16 => "bfloat16",
    };
    config.insert(key.to_string(), dtype.into());
    Ok(serde_json::to_string_pretty(&config).expect("a JSON value can be written") + "\n")
}

/// Lets `write` make a file beside `path`, syncs it and renames it to `path`.
fn write_atomically(
    path: &Path,
    write: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<(), ModelError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let result = write(partial)
        .and_then(|()| File::open(partial)?.sync_all())
        .and_then(|()| std::fs::rename(partial, path));
    if result.is_err() {
        // The partial file is of no use; that it could not be written is the error to report.
        let _ = std::fs::remove_file(partial);
    }
    result.map_err(|source| ModelError::Io { path: path.into(), source })
}

/// A weight as its file has it; read from the device when it is written, one at a time.
struct Stored<'a> {
    weight: Weight<'a>,
    precision: Precision,
}

struct Sized<'a> {
    stored: Stored<'a>,
    shape: Vec<usize>,
}

impl<'a> Stored<'a> {
    fn sized(self) -> Sized<'a> {
        let shape = match &self.weight {
            Weight::Matrix(w) => w.dims().into_iter().rev().collect(),
            Weight::Table(w) => w.dims().to_vec(),
            Weight::Vector(w) => w.dims().to_vec(),
        };
        Sized { stored: self, shape }
    }

    fn values(&self) -> TensorData {
        fn f32_data<const D: usize>(w: Tensor<D>) -> TensorData {
            w.cast(DType::F32).into_data()
        }
        match &self.weight {
            Weight::Matrix(w) => f32_data(w.val().transpose()),
            Weight::Table(w) => f32_data(w.val()),
            Weight::Vector(w) => f32_data(w.val()),
        }
    }
}

impl View for Sized<'_> {
    fn dtype(&self) -> Dtype {
        match self.stored.precision {
            Precision::F32 => Dtype::F32,
            Precision::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.stored.values();
        let values = values.iter::<f32>();
        Cow::Owned(match self.stored.precision {
            Precision::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Precision::Bf16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        let bytes = match self.stored.precision {
            Precision::F32 => 4,
            Precision::Bf16 => 2,
        };
        self.shape.iter().product::<usize>() * bytes
    }
}
