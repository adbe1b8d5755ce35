//! Tensors of a model folder: one `model.safetensors`, or shards named by `model.safetensors.index.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::json::read_json;
use crate::load::Source;
use crate::{ModelError, TensorFile};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a model folder, read one at a time.
pub(crate) struct ModelTensors {
    /// The file to name when a tensor is in none.
    root: PathBuf,
    shards: Vec<TensorFile>,
    /// Which shard holds a tensor.
    places: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ModelTensors {
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let single = folder.join(WEIGHTS);
        let index = folder.join(INDEX);
        if single.exists() || !index.exists() {
            let shard = TensorFile::open(&single)?;
            let places = shard.names().map(|name| (name.to_string(), 0)).collect();
            return Ok(Self { root: single, shards: vec![shard], places });
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
        let shards =
            files.iter().map(|file| TensorFile::open(&folder.join(file))).collect::<Result<_, _>>()?;
        Ok(Self { root: index, shards, places })
    }
}

impl Source for ModelTensors {
    type Error = ModelError;

    fn read(&mut self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let missing = || ModelError::MissingTensor { path: self.root.clone(), tensor: tensor.into() };
        let place = *self.places.get(tensor).ok_or_else(missing)?;
        self.shards[place].read(tensor, shape)
    }
}
