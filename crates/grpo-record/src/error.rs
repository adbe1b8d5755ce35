use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a record cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The folder is not a run's.
    #[error("{}: it has no run.json, so it is not a run folder: give the folder that `grpo train` names", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A line is damaged.
    #[error("{}, line {line} is damaged: {}; restore the file, or remove the line", path.display(), reason(cause))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        cause: serde_json::Error,
    },
}

/// Without the line that the parser counts, which sees only one.
fn reason(cause: &serde_json::Error) -> String {
    let reason = cause.to_string();
    let place = format!(" at line {} column {}", cause.line(), cause.column());
    reason
        .strip_suffix(&place)
        .map_or(reason.clone(), |reason| format!("{reason} at column {}", cause.column()))
}

impl RecordError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}
