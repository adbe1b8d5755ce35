//! Why a checkpoint could not be written or resumed from.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::RunLogError;

/// Why a checkpoint could not be written or resumed from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder could not be read or written.
    #[error("{}: {cause}; make room, or see to its permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// A checkpoint differs from what was written.
    #[error("{}: the checkpoint is damaged: {reason}; restore it, or take an earlier one", path.display())]
    Damaged {
        /// The checkpoint, or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No checkpoint is intact.
    #[error(
        "{}: every checkpoint is damaged ({}); move the folder away to begin again from the start",
        path.display(), list(damaged)
    )]
    AllDamaged {
        /// The folder of checkpoints.
        path: PathBuf,
        /// What is wrong with each, newest first.
        damaged: Vec<CheckpointError>,
    },
    /// The configuration differs from the one that the checkpoint was written under.
    #[error(
        "{}: the run was begun with another configuration ({}): take that, or begin a new run from its model",
        path.display(), differences.join("; ")
    )]
    Changed {
        /// The checkpoint.
        path: PathBuf,
        /// What differs, as `recipe.objective.beta: 0.04 -> 0.1`.
        differences: Vec<String>,
    },
    /// The policy could not be written or read.
    #[error(transparent)]
    Policy(Box<dyn std::error::Error + Send + Sync>),
    /// The run's record could not be written.
    #[error(transparent)]
    Log(#[from] RunLogError),
}

impl CheckpointError {
    pub(crate) fn policy(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Policy(Box::new(cause))
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| match cause.kind() {
            ErrorKind::NotFound => Self::Damaged { path, reason: "it is not there".to_string() },
            _ => Self::Io { path, cause },
        }
    }
}

fn list(errors: &[CheckpointError]) -> String {
    errors.iter().map(CheckpointError::to_string).collect::<Vec<_>>().join("; ")
}
