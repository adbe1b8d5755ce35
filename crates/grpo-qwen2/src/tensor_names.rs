//! Error messages for weights whose names differ from those in transformers.

use std::path::Path;

use crate::ModelError;

const VISION: &str =
    "it is part of a vision-language model: save its language model alone, as a causal language model";
const MERGE: &str = "an adapter is not merged, or only in part: save what PEFT's merge_and_unload returns";

/// Prefixes that wrappers add to every name, and how to remove them.
const PREFIXES: [(&str, &str); 6] = [
    ("_orig_mod.", "the model was saved while compiled: save the module that torch.compile was given"),
    ("base_model.model.", MERGE),
    ("module.", "the model was saved inside DataParallel: save its `module`"),
    ("_fsdp_wrapped_module.", "the model was saved inside FSDP: save the full, unwrapped state dict"),
    ("language_model.", VISION),
    ("model.language_model.", VISION),
];

/// Suffixes found next to a quantized matrix, or instead of its `weight`.
const QUANTIZED: [&str; 8] = [
    "qweight",
    "scales",
    "weight_packed",
    "weight_scale",
    "weight_scale_inv",
    "weight.absmax",
    "SCB",
    "weight.quant_state.bitsandbytes__nf4",
];

/// Replaces `error` for a matrix that is quantized, as the names of the tensors show.
pub(crate) fn explained(
    error: ModelError,
    path: &Path,
    tensor: &str,
    has: impl Fn(&str) -> bool,
) -> ModelError {
    let of_values = matches!(
        error,
        ModelError::MissingTensor { .. } | ModelError::WrongShape { .. } | ModelError::WrongDtype { .. }
    );
    let sibling = tensor.strip_suffix("weight").filter(|_| of_values).and_then(|module| {
        QUANTIZED.iter().map(|ending| format!("{module}{ending}")).find(|sibling| has(sibling))
    });
    match sibling {
        Some(sibling) => {
            ModelError::Quantized { path: path.into(), method: format!("it has a tensor `{sibling}`") }
        }
        None => error,
    }
}

/// Why the file at `path`, whose tensors `has` knows, lacks `tensor`.
pub(crate) fn missing(path: &Path, tensor: &str, has: impl Fn(&str) -> bool) -> ModelError {
    let renamed = |found: String, reason: &str| {
        let (path, tensor, reason) = (path.to_path_buf(), tensor.to_owned(), reason.to_owned());
        ModelError::OtherNames { path, tensor, found, reason }
    };
    let bare = tensor.strip_prefix("model.").unwrap_or(tensor);
    for (prefix, reason) in PREFIXES {
        let names = [tensor, bare].map(|name| format!("{prefix}{name}"));
        if let Some(found) = names.into_iter().find(|name| has(name)) {
            return renamed(found, reason);
        }
    }
    if bare != tensor && has(bare) {
        return renamed(bare.to_owned(), "it was saved without its head: save the causal language model");
    }
    let base = tensor.strip_suffix("weight").map(|module| format!("{module}base_layer.weight"));
    match base.filter(|base| has(base)) {
        Some(base) => renamed(base, MERGE),
        None => ModelError::MissingTensor { path: path.into(), tensor: tensor.into() },
    }
}
