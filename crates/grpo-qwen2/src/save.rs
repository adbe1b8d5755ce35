use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::tensor::{DType, Tensor, TensorData};
use half::bf16;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::{Map, Value};

use crate::json::read_json;
use crate::names::{Weight, layer};
use crate::projection::Projection;
use crate::{ModelError, Qwen2};

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

/// What the weights of a saved model are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Four bytes a weight: no bit of what was trained is lost.
    F32,
    /// Two bytes a weight, rounded to nearest: as the published checkpoints have it.
    Bf16,
}

/// What a model folder holds besides weights: the configuration, and the tokenizer's files byte by byte.
///
/// Read when the model is loaded, so that a save at the end of a long run needs nothing that may have gone by then.
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
                unchanged.push((name, std::fs::read(&path).map_err(ModelError::io(path))?));
            }
        }
        Ok(Self { config, unchanged })
    }

    /// `config.json` with the number format of the saved weights, in the form that the file has.
    fn config(&self, precision: Precision) -> String {
        let mut config = self.config.clone();
        let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        let dtype = match precision {
            Precision::F32 => "float32",
            Precision::Bf16 => "bfloat16",
        };
        config.insert(key.to_string(), dtype.into());
        serde_json::to_string_pretty(&config).expect("a JSON value can be written") + "\n"
    }
}

impl Qwen2 {
    /// Writes the model to `folder` in Hugging Face layout, so that transformers loads it: `model.safetensors` in
    /// the given precision, `config.json` saying so, and the other `files` as they were. Adapters are merged into their
    /// matrices; by themselves they are saved with [`save_adapter`](Self::save_adapter).
    ///
    /// Every file is written under another name, synced and then renamed: a save that fails (a full disk, say) leaves
    /// what was there before.
    pub fn save(&self, files: &ModelFiles, folder: &Path, precision: Precision) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
        write_tensors(&folder.join("model.safetensors"), &self.stored(), precision)?;
        let config = files.config(precision);
        write_atomically(&folder.join("config.json"), |file| file.write_all(config.as_bytes()))?;
        for (name, bytes) in &files.unchanged {
            write_atomically(&folder.join(name), |file| file.write_all(bytes))?;
        }
        Ok(())
    }
}

/// A tensor of a file.
pub(crate) enum Stored<'a> {
    Weight(Weight<'a>),
    /// A matrix with the change of its adapter in it. Computed when it is written, so that there is one at a time.
    Merged(&'a Projection),
}

impl Qwen2 {
    fn stored(&self) -> Vec<(String, Stored<'_>)> {
        let mut merged: HashMap<String, &Projection> = self
            .adapters()
            .map(|(i, target, _)| {
                (format!("{}.weight", layer(i, &target.part())), self.layers[i].projection(target))
            })
            .collect();
        let stored = |(name, weight): (String, _)| {
            let stored = merged.remove(&name).map_or(Stored::Weight(weight), Stored::Merged);
            (name, stored)
        };
        self.weights().into_iter().map(stored).collect()
    }
}

/// Writes tensors in the safetensors format: the header's length, the header, the tensors.
pub(crate) fn write_tensors(
    path: &Path,
    weights: &[(String, Stored<'_>)],
    precision: Precision,
) -> Result<(), ModelError> {
    let header = header(weights, precision);
    write_atomically(path, |file| {
        let mut file = BufWriter::new(file);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (_, weight) in weights {
            // Read from the device one at a time.
            file.write_all(&bytes(weight, precision))?;
        }
        file.flush()
    })
}

/// Lets `write` fill a file beside `path`, syncs it and renames it to `path`.
pub(crate) fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), ModelError> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let result = File::create(partial)
        .and_then(|mut file| write(&mut file).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(partial, path));
    if result.is_err() {
        // The partial file is of no use; that it could not be written is the error to report.
        let _ = std::fs::remove_file(partial);
    }
    result.map_err(|source| ModelError::Io { path: path.into(), source })
}

/// The JSON that says what the tensors are and where, padded so that they begin at a multiple of 8 bytes.
fn header(weights: &[(String, Stored<'_>)], precision: Precision) -> Vec<u8> {
    let (dtype, size) = match precision {
        Precision::F32 => (Dtype::F32, 4),
        Precision::Bf16 => (Dtype::BF16, 2),
    };
    let mut end = 0;
    let place = |(name, weight): &(String, Stored<'_>)| {
        let (shape, start) = (shape(weight), end);
        end += shape.iter().product::<usize>() * size;
        (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let tensors = weights.iter().map(place).collect();
    // Versions of transformers refuse a file that does not say which framework wrote it.
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    let metadata = Metadata::new(Some(format), tensors).expect("tensors stand one after the other");
    let mut header = serde_json::to_vec(&metadata).expect("names and numbers can be written");
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// The shape that a weight has in its file.
fn shape(weight: &Stored<'_>) -> Vec<usize> {
    match weight {
        Stored::Weight(Weight::Matrix(w)) => w.dims().into_iter().rev().collect(),
        Stored::Weight(Weight::Table(w)) => w.dims().to_vec(),
        Stored::Weight(Weight::Vector(w)) => w.dims().to_vec(),
        Stored::Merged(projection) => projection.dims().into_iter().rev().collect(),
    }
}

/// The values that a weight has in its file.
fn bytes(weight: &Stored<'_>, precision: Precision) -> Vec<u8> {
    fn host<const D: usize>(w: Tensor<D>) -> TensorData {
        w.cast(DType::F32).into_data()
    }
    let values = match weight {
        Stored::Weight(Weight::Matrix(w)) => host(w.val().transpose()),
        Stored::Weight(Weight::Table(w)) => host(w.val()),
        Stored::Weight(Weight::Vector(w)) => host(w.val()),
        Stored::Merged(projection) => host(projection.merged().transpose()),
    };
    let values = values.iter::<f32>();
    match precision {
        Precision::F32 => values.flat_map(f32::to_le_bytes).collect(),
        Precision::Bf16 => values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect(),
    }
}
