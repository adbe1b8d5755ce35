//! Tensors of a model folder: one `model.safetensors`, or shards named by `model.safetensors.index.json`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::names::{EMBED_TOKENS, LM_HEAD};
use crate::text_file::read_json;
use crate::weight_source::WeightSource;
use crate::{Config, ModelError, TensorFile, tensor_names, weight_files};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Tensors of rotary positions that older versions of transformers saved, and that the configuration determines.
const POSITIONS: &str = ".rotary_emb.inv_freq";

/// The tensors of a model folder, read one at a time.
pub(crate) struct ModelTensors {
    /// The file to name when no file has a tensor.
    root: PathBuf,
    shards: Vec<TensorFile>,
    /// Which shard holds a tensor.
    places: HashMap<String, usize>,
    /// The name of the embedding.
    table: &'static str,
    /// Tensors that have not been read yet, with their shards.
    unread: BTreeSet<(String, usize)>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ModelTensors {
    /// Opens the weights files of a model, whose head may be tied.
    pub(crate) fn open(folder: &Path, config: &Config) -> Result<Self, ModelError> {
        let mut tensors = Self::open_files(folder)?;
        // If two names share memory, safetensors' save_model keeps one of them.
        let has = |name: &str| tensors.places.contains_key(name);
        if config.tie_word_embeddings && has(LM_HEAD) && !has(EMBED_TOKENS) {
            tensors.table = LM_HEAD;
        }
        Ok(tensors)
    }

    fn open_files(folder: &Path) -> Result<Self, ModelError> {
        let [single, index] = [WEIGHTS, INDEX].map(|name| folder.join(name));
        if folder.join("adapter_config.json").exists() {
            let folder = folder.display();
            tracing::warn!("{folder}: the adapter beside the model is not used; give it as the adapter");
        }
        match (single.exists(), index.exists()) {
            (false, false) => Err(weight_files::missing_of_model(&single)),
            (false, true) => Self::of_shards(folder, index),
            (true, has_index) => {
                if has_index && read_json::<Index>(&index)?.weight_map.values().any(|file| file != WEIGHTS) {
                    tracing::warn!("{} is read; the shards that {INDEX} names are not", single.display());
                }
                let shard = TensorFile::open(&single)?;
                let places = shard.names().map(|name| (name.to_string(), 0)).collect();
                Ok(Self::new(single, vec![shard], places))
            }
        }
    }

    fn of_shards(folder: &Path, index: PathBuf) -> Result<Self, ModelError> {
        let Index { weight_map } = read_json(&index)?;
        let files: BTreeSet<&String> = weight_map.values().collect();
        let files: Vec<&String> = files.into_iter().collect();
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
        Ok(Self::new(index, shards, places))
    }

    fn new(root: PathBuf, shards: Vec<TensorFile>, places: HashMap<String, usize>) -> Self {
        let of_shard = |(i, shard): (usize, &TensorFile)| -> Vec<_> {
            shard.names().map(|name| (name.to_owned(), i)).collect()
        };
        let unread = shards.iter().enumerate().flat_map(of_shard).collect();
        Self { root, shards, places, table: EMBED_TOKENS, unread }
    }

    /// Rejects weights that have no place in the model of `config`: they were trained as a part of it. A head that equals the
    /// embedding is already part of a tied model.
    pub(crate) fn check_all_read(mut self, config: &Config) -> Result<(), ModelError> {
        let has_head = config.tie_word_embeddings && self.places.contains_key(LM_HEAD);
        if has_head && self.table != LM_HEAD && !self.is_tied(config)? {
            return Err(ModelError::OtherHead { path: self.root });
        }
        let (positions, unread): (Vec<_>, Vec<_>) =
            self.unread.into_iter().map(|(name, _)| name).partition(|name| name.ends_with(POSITIONS));
        if !positions.is_empty() {
            tracing::warn!("{}: rotary positions follow config.json, not `{POSITIONS}`", self.root.display());
        }
        if !unread.is_empty() {
            return Err(ModelError::UnreadTensors { path: self.root, tensors: unread });
        }
        Ok(())
    }

    /// Whether the stored head equals the embedding. Compared piece by piece, so that neither is in memory twice.
    fn is_tied(&mut self, config: &Config) -> Result<bool, ModelError> {
        const PIECE: usize = 1 << 20;
        let shape = [config.vocab_size, config.hidden_size];
        let (head, table) = (self.places[LM_HEAD], self.places[EMBED_TOKENS]);
        self.unread.remove(&(LM_HEAD.to_owned(), head));
        let len = shape[0] * shape[1];
        for start in (0..len).step_by(PIECE) {
            let piece = start..(start + PIECE).min(len);
            let values = self.shards[head].read_part(LM_HEAD, &shape, piece.clone())?;
            if values != self.shards[table].read_part(EMBED_TOKENS, &shape, piece)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl WeightSource for ModelTensors {
    type Error = ModelError;

    fn read(&mut self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let tensor = if tensor == EMBED_TOKENS { self.table } else { tensor };
        let has = |name: &str| self.places.contains_key(name);
        let Some(&place) = self.places.get(tensor) else {
            let missing = tensor_names::missing(&self.root, tensor, has);
            return Err(tensor_names::explained(missing, &self.root, tensor, has));
        };
        self.unread.remove(&(tensor.to_owned(), place));
        let values = self.shards[place].read(tensor, shape);
        values.map_err(|error| tensor_names::explained(error, &self.root, tensor, has))
    }
}
