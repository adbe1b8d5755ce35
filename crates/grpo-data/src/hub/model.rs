//! Which files make up a model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use grpo_files::is_inside;
use serde::Deserialize;

use super::HubError;
use super::fetch::Remote;
use super::repo::Repo;

pub(super) const REQUIRED: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];
/// Not included: `chat_template.json`, which is for image processors, and named templates next to the default one.
pub(super) const OPTIONAL: [&str; 4] =
    ["generation_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json"];
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

// What to do about weights in other files.
const ANOTHER_FORMAT: &str = "convert them: load model and tokenizer with transformers' `from_pretrained`, write both to a \
    folder with `save_pretrained`, and give the folder";
const GGUF: &str = "give the repository that they were made from, or convert them: transformers' `from_pretrained` takes \
    `gguf_file=`, and `save_pretrained` writes a folder to give";
const ADAPTER: &str = "this is an adapter: give the model that its `adapter_config.json` names";

/// Refuses a repository whose weights are all in unsupported files.
pub(super) fn check_weights(repo: &Repo, names: &[String]) -> Result<(), HubError> {
    if names.iter().any(|name| name == WEIGHTS || name == INDEX) {
        return Ok(());
    }
    let of_advice = |wanted| names.iter().filter(move |name| advice(name) == Some(wanted)).cloned().collect();
    for advice in [ANOTHER_FORMAT, GGUF, ADAPTER] {
        let found: Vec<String> = of_advice(advice);
        if !found.is_empty() {
            return Err(HubError::Weights { what: repo.to_string(), found, advice });
        }
    }
    Ok(())
}

/// What to do with a weight file; `None` for other files.
fn advice(name: &str) -> Option<&'static str> {
    let (stem, extension) = name.rsplit_once('.')?;
    let is_model = ["model", "pytorch_model", "tf_model", "flax_model", "consolidated"]
        .iter()
        .any(|prefix| stem.starts_with(prefix));
    match extension {
        "gguf" => Some(GGUF),
        _ if stem == "adapter_model" => Some(ADAPTER),
        "bin" | "pt" | "pth" | "ckpt" | "h5" | "msgpack" | "safetensors" if is_model => Some(ANOTHER_FORMAT),
        _ => None,
    }
}

/// Fetches the optional files and records which ones the repository does not have.
pub(super) fn fetch_optional(remote: &Remote<'_>) -> Result<(), HubError> {
    for file in OPTIONAL {
        if remote.has(file) {
            remote.fetch(file)?;
        } else if let Some(note) = note_of_absence(&remote.folder(), file) {
            let folder = note.parent().unwrap_or(&note);
            if let Err(e) = fs::create_dir_all(folder).and_then(|()| File::create(&note)) {
                tracing::warn!("{}: cannot be noted, and will be asked again: {e}", note.display());
            }
        }
    }
    Ok(())
}

/// Whether an optional file is in the snapshot, or is known to be missing from its repository.
pub(super) fn is_known(snapshot: &Path, file: &str) -> bool {
    snapshot.join(file).is_file() || note_of_absence(snapshot, file).is_some_and(|note| note.is_file())
}

/// Where Hugging Face's tools record that a commit has no such file: `.no_exist/{commit}` next to `snapshots`.
fn note_of_absence(snapshot: &Path, file: &str) -> Option<PathBuf> {
    Some(snapshot.parent()?.parent()?.join(".no_exist").join(snapshot.file_name()?).join(file))
}

/// The first file that a model's folder lacks.
pub(super) fn first_missing(folder: &Path) -> Result<Option<String>, HubError> {
    let lacks = |file: &str| !folder.join(file).is_file();
    if let Some(file) = REQUIRED.into_iter().find(|file| lacks(file)) {
        return Ok(Some(file.to_owned()));
    }
    match (lacks(WEIGHTS), lacks(INDEX)) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(WEIGHTS.to_owned())),
        (true, false) => Ok(shards(&folder.join(INDEX))?.into_iter().find(|shard| lacks(shard))),
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files named in a list of weight files.
pub(super) fn shards(path: &Path) -> Result<BTreeSet<String>, HubError> {
    let unusable = |reason: String| HubError::Index { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(HubError::io(path))?;
    let index: Index = serde_json::from_slice(&bytes).map_err(|e| unusable(e.to_string()))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if let Some(outside) = shards.iter().find(|name| !is_inside(name)) {
        return Err(unusable(format!("`{outside}` lies outside its folder")));
    }
    if shards.is_empty() {
        return Err(unusable("it names no file".to_owned()));
    }
    Ok(shards)
}
