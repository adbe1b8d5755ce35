use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why there is no page.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PageError {
    /// The folder is not a run's.
    #[error("{}: it has no run.json, so it is not a run folder: give the folder that `grpo train` names", path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read or written.
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
    /// A record is damaged.
    #[error("{}, line {line}: {cause}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        cause: serde_json::Error,
    },
}

impl PageError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}
