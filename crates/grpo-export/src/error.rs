use std::io;
use std::path::{Path, PathBuf};

use grpo_record::RecordError;
use thiserror::Error;

/// Why nothing has been exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The record of the run cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file could not be written.
    #[error("{}: {cause}; check that its folder exists and has space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl ExportError {
    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| match cause.downcast::<RecordError>() {
            Ok(error) => error.into(),
            Err(cause) => Self::Write { path: path.clone(), cause },
        }
    }
}
