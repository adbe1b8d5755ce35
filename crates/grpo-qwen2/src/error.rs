use std::path::{Path, PathBuf};

use grpo_rollout::InvalidOption;

use crate::LoraTarget;

/// Why a model folder could not be read or written. Every variant names the file and, where applicable, the tensor or key, and
/// says how to fix it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// A file that every model folder must have is missing.
    #[error("{}: no such file; the folder needs it: download or restore it", path.display())]
    MissingFile {
        /// The missing file.
        path: PathBuf,
    },
    /// The file is a Git LFS pointer, because the actual file was not downloaded.
    #[error("{}: a Git LFS pointer, not the file itself: run `git lfs pull` in the cloned repository", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// There are weights, but not in the safetensors format.
    #[error("{}: no such file; there is `{found}`: {advice}", path.display())]
    OtherWeights {
        /// The missing file.
        path: PathBuf,
        /// The file that is there.
        found: String,
        /// How to convert it.
        advice: String,
    },
    /// A JSON file is invalid.
    #[error("{}: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with line and column where known.
        reason: String,
    },
    /// The configuration describes a model that this crate does not implement.
    #[error("{}: {key} is {value}, but {expected}", path.display())]
    Unsupported {
        /// The configuration file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What is supported.
        expected: String,
    },
    /// The weights are quantized: they cannot be trained, and the stored values are not those of a matrix.
    #[error(
        "{}: the weights are quantized ({method}): training needs them in BF16, F16 or F32; use the original, unquantized model",
        path.display()
    )]
    Quantized {
        /// The file that says so.
        path: PathBuf,
        /// How they are quantized, as far as the file says.
        method: String,
    },
    /// A weights file is damaged.
    #[error("{}: not a whole safetensors file ({reason}): download or restore it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No weights file has a tensor that the architecture requires.
    #[error("{}: tensor `{tensor}` is missing: the weights are of another model than the configuration beside them", path.display())]
    MissingTensor {
        /// The weights file or index.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor that the architecture requires exists under another name.
    #[error("{}: tensor `{tensor}` is there as `{found}`: {reason}", path.display())]
    OtherNames {
        /// The weights file or index.
        path: PathBuf,
        /// The name that the tensor should have.
        tensor: String,
        /// The name that it has.
        found: String,
        /// Where the name comes from, and how to fix it.
        reason: String,
    },
    /// The weights have tensors that the configured model does not use.
    #[error(
        "{}: the model that config.json describes does not use {}: it would compute something else without them; use the \
         config.json that belongs to the weights, or save the causal language model alone", path.display(), list(tensors)
    )]
    UnreadTensors {
        /// The weights file or index.
        path: PathBuf,
        /// The names of the tensors.
        tensors: Vec<String>,
    },
    /// The configuration ties the head to the embedding, but the weights have a different head.
    #[error(
        "{}: config.json has `tie_word_embeddings: true`, but `lm_head.weight` is not the embedding: set it to false, or \
         remove the tensor", path.display()
    )]
    OtherHead {
        /// The weights file or index.
        path: PathBuf,
    },
    /// An adapter's file has a tensor that belongs to none of this model's adapters.
    #[error(
        "{}: tensor `{tensor}` is no adapter of this model: it is of another model, or of a layer that adapters are not \
         implemented for (all but {} are not)", path.display(), targets()
    )]
    UnknownTensor {
        /// The adapter's file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
    },
    /// An optimizer state file does not match what is trained.
    #[error("{}: tensor `{tensor}` {reason}: the file is of another run, or damaged", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option is outside its range.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// An adapter is requested for a linear layer that does not exist.
    #[error("there is no linear layer `{name}`: choose from {}", targets())]
    UnknownTarget {
        /// The name.
        name: String,
    },
    /// A tensor's shape differs from the one in the configuration.
    #[error("{}: tensor `{tensor}` has shape {found:?}, but the configuration says {expected:?}", path.display())]
    WrongShape {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the configuration requires.
        expected: Vec<usize>,
    },
    /// A model's shape differs from that of the model it is to replace.
    #[error("{}: the model has another shape (config.json) than the one that the run began with", path.display())]
    OtherShape {
        /// The model's folder.
        path: PathBuf,
    },
    /// A tensor has a number format that cannot be trained.
    #[error(
        "{}: tensor `{tensor}` is {found}, but only BF16, F16 and F32 weights are supported: convert it; if the model is \
         quantized, use the original", path.display()
    )]
    WrongDtype {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Its number format.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{}: tensor `{tensor}` holds {value} at element {index}: the file is damaged or training diverged", path.display())]
    NonFinite {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The value.
        value: f32,
        /// Its index in row-major order.
        index: usize,
    },
    /// The tokenizer file is invalid, or does not fit the model.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The chat template is missing, or fails on the given messages.
    #[error("{}: the chat template {reason}", path.display())]
    Template {
        /// The file that holds the template.
        path: PathBuf,
        /// The template engine's error message.
        reason: String,
    },
}

fn targets() -> String {
    LoraTarget::ALL.map(LoraTarget::name).join(", ")
}

/// The first few names of a list that may be long.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown =
        names[..SHOWN.min(names.len())].iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl ModelError {
    pub(crate) fn unsupported(path: &Path, key: &str, value: impl Into<String>, expected: &str) -> Self {
        Self::Unsupported {
            path: path.into(),
            key: key.into(),
            value: value.into(),
            expected: expected.into(),
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| match cause.kind() {
            std::io::ErrorKind::NotFound => Self::MissingFile { path },
            _ => Self::Io { path, cause },
        }
    }
}
