//! Error messages for a folder that lacks a file because its model is in another format.

use std::path::Path;

use crate::ModelError;

const SAVE_AGAIN: &str =
    "load it with transformers and save it with save_pretrained, which writes safetensors";
const SHARD: &str = "it is one of several shards: get model.safetensors.index.json, which names them, too";
const GGUF: &str = "use the model that it was made from, or convert it: from_pretrained of transformers takes `gguf_file=`, and \
    save_pretrained writes safetensors";
const ADAPTER: &str = "it is an adapter: give its base model as the model, and this folder as the adapter";
const SAVE_ADAPTER: &str = "load it with PEFT and save it with save_pretrained, which writes safetensors";
const ZERO: &str =
    "it is a checkpoint of DeepSpeed ZeRO: run this script, and save what it writes with save_pretrained";

/// Why the file `wanted` of a model is missing from its folder.
pub(crate) fn missing_of_model(wanted: &Path) -> ModelError {
    missing(wanted, &[SHARD, SAVE_AGAIN, ZERO, GGUF, ADAPTER], |name| {
        let (stem, extension) = name.rsplit_once('.')?;
        let is_model = ["model", "pytorch_model", "tf_model", "flax_model", "consolidated", "weights"]
            .iter()
            .any(|prefix| stem.starts_with(prefix));
        match extension {
            "gguf" => Some(GGUF),
            _ if name == "zero_to_fp32.py" => Some(ZERO),
            _ if ["adapter_model", "adapter_config"].contains(&stem) => Some(ADAPTER),
            _ if name == "model.safetensors" => None,
            "safetensors" if stem.starts_with("model-") && stem.contains("-of-") => Some(SHARD),
            "bin" | "pt" | "pth" | "ckpt" | "h5" | "msgpack" | "npz" | "safetensors" if is_model => {
                Some(SAVE_AGAIN)
            }
            _ => None,
        }
    })
}

/// Why the file `wanted` of an adapter is missing from its folder.
pub(crate) fn missing_of_adapter(wanted: &Path) -> ModelError {
    missing(wanted, &[SAVE_ADAPTER], |name| (name == "adapter_model.bin").then_some(SAVE_ADAPTER))
}

/// Names the file in the folder that `advice` applies to, in the order of the advice.
fn missing(wanted: &Path, kinds: &[&str], advice: impl Fn(&str) -> Option<&'static str>) -> ModelError {
    let path = wanted.to_path_buf();
    let entries = wanted.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let names = entries.into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    let mut found: Vec<(usize, String)> = names
        .filter_map(|name| Some((kinds.iter().position(|kind| Some(*kind) == advice(&name))?, name)))
        .collect();
    found.sort();
    match found.into_iter().next() {
        Some((kind, found)) => ModelError::OtherWeights { path, found, advice: kinds[kind].into() },
        None => ModelError::MissingFile { path },
    }
}
