use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use grpo_record::RecordError;
use thiserror::Error;

/// Why there is no page.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PageError {
    /// The record of a run cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The page could not be written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The page cannot be served there.
    #[error("{address}: {cause}: choose another with --port")]
    Port {
        /// The address.
        address: SocketAddr,
        /// Why.
        cause: String,
    },
}

impl PageError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}
