//! Tensors of a model folder: one `model.safetensors`, or shards named by `model.safetensors.index.json`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Deserialize;

use crate::ModelError;
use crate::json::read_json;
use crate::load::Source;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The most bytes a safetensors header may have, as the format's own reader has it.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of a model folder, read one at a time.
pub(crate) struct Checkpoint {
    /// The file to name when a tensor is in none.
    root: PathBuf,
    shards: Vec<Shard>,
    /// Which shard holds a tensor.
    places: HashMap<String, usize>,
}

struct Shard {
    path: PathBuf,
    file: File,
    /// Where the tensors begin in the file.
    data_start: u64,
    tensors: HashMap<String, TensorInfo>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let single = folder.join(WEIGHTS);
        let index = folder.join(INDEX);
        if single.exists() || !index.exists() {
            return Self::open_file(single);
        }
        let Index { weight_map } = read_json(&index)?;
        let mut files: Vec<&String> = weight_map.values().collect();
        files.sort();
        files.dedup();
        for file in &files {
            let mut parts = Path::new(file).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                let reason = format!("shard `{file}` is not a plain file name in this folder");
                return Err(ModelError::Json { path: index, reason });
            }
        }
        let place = |file: &String| files.binary_search(&file).expect("every file of the map is listed");
        let places = weight_map.iter().map(|(name, file)| (name.clone(), place(file))).collect();
        let shards = files.iter().map(|file| Shard::open(folder.join(file))).collect::<Result<_, _>>()?;
        Ok(Self { root: index, shards, places })
    }

    /// The tensors of one file.
    pub(crate) fn open_file(path: PathBuf) -> Result<Self, ModelError> {
        let shard = Shard::open(path.clone())?;
        let places = shard.tensors.keys().map(|name| (name.clone(), 0)).collect();
        Ok(Self { root: path, shards: vec![shard], places })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }
}

impl Source for Checkpoint {
    type Error = ModelError;

    /// The values in f32, all finite.
    fn read(&mut self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let missing = |path: &Path| ModelError::MissingTensor { path: path.into(), tensor: tensor.into() };
        let place = *self.places.get(tensor).ok_or_else(|| missing(&self.root))?;
        let shard = &mut self.shards[place];
        let info = shard.tensors.get(tensor).ok_or_else(|| missing(&shard.path))?;
        if info.shape != shape {
            return Err(ModelError::WrongShape {
                path: shard.path.clone(),
                tensor: tensor.into(),
                found: info.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        let (dtype, (start, end)) = (info.dtype, info.data_offsets);
        let bytes = shard.bytes(start, end)?;
        let values = decode(dtype, &bytes).ok_or_else(|| ModelError::WrongDtype {
            path: shard.path.clone(),
            tensor: tensor.into(),
            found: format!("{dtype:?}"),
        })?;
        match values.iter().position(|v| !v.is_finite()) {
            Some(index) => Err(ModelError::NonFinite {
                path: shard.path.clone(),
                tensor: tensor.into(),
                value: values[index],
                index,
            }),
            None => Ok(values),
        }
    }
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, ModelError> {
        let damaged = |reason: String| ModelError::Damaged { path: path.clone(), reason };
        let mut file = File::open(&path).map_err(ModelError::io(&path))?;
        let len = file.metadata().map_err(ModelError::io(&path))?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| damaged(format!("{len} bytes are too few for a header")))?;
        let header_len = u64::from_le_bytes(length);
        if header_len > MAX_HEADER || header_len > len.saturating_sub(8) {
            return Err(damaged(format!("the header claims {header_len} of the file's {len} bytes")));
        }
        let mut header = vec![0; header_len as usize];
        file.read_exact(&mut header).map_err(ModelError::io(&path))?;
        // Checks that the tensors fill the data without gaps or overlaps, too.
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| damaged(e.to_string()))?;
        let (found, expected) = (len - 8 - header_len, metadata.data_len() as u64);
        if found != expected {
            return Err(damaged(format!("{found} bytes of tensors where the header says {expected}")));
        }
        let tensors = metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        Ok(Self { path, file, data_start: 8 + header_len, tensors })
    }

    fn bytes(&mut self, start: usize, end: usize) -> Result<Vec<u8>, ModelError> {
        let mut bytes = vec![0; end - start];
        self.file
            .seek(SeekFrom::Start(self.data_start + start as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(ModelError::io(&self.path))?;
        Ok(bytes)
    }
}

/// Numbers of a supported format as f32.
fn decode(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        Dtype::BF16 => Some(pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
        Dtype::F16 => Some(pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
        Dtype::F32 => {
            Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        _ => None,
    }
}
