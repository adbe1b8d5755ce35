//! Versions of the policy, in a folder that the servers see.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use grpo_files::rename_durably;

use crate::FleetError;

/// What a version of the policy consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Adapters in PEFT's format. Servers keep several of them at once.
    Adapter,
    /// All weights, in Hugging Face layout.
    Weights,
}

/// A version of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) number: u64,
    /// Its name on all servers: no other version has it, because a server might take that one from its cache.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) kind: Kind,
}

/// Writes versions.
#[derive(Debug)]
pub(crate) struct Publisher {
    folder: PathBuf,
    /// The part of names that tells this process from others.
    prefix: String,
    /// The newest, and the one before, which a server may still be using.
    kept: Vec<Version>,
}

impl Publisher {
    pub(crate) fn new(folder: PathBuf) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let prefix = format!("grpo-{since:x}-{:x}", std::process::id());
        Self { folder, prefix, kept: Vec::new() }
    }

    /// The newest version.
    pub(crate) fn current(&self) -> Option<&Version> {
        self.kept.last()
    }

    /// Writes a version, unless it is there.
    pub(crate) fn publish(
        &mut self,
        number: u64,
        kind: Kind,
        save: &dyn Fn(&Path) -> Result<(), Box<dyn Error + Send + Sync>>,
    ) -> Result<(), FleetError> {
        if self.current().is_some_and(|current| current.number == number) {
            return Ok(());
        }
        let name = format!("{}-{number:08}", self.prefix);
        let folder = self.folder.join(&name);
        let failed = |reason: String| FleetError::Publication { folder: folder.clone(), reason };
        let partial = self.folder.join(format!("{name}.partial"));
        fs::create_dir_all(&partial).map_err(|error| failed(error.to_string()))?;
        let written = save(&partial).and_then(|()| Ok(rename_durably(&partial, &folder)?));
        if let Err(error) = written {
            // What is there of it is useless.
            let _ = fs::remove_dir_all(&partial);
            return Err(failed(error.to_string()));
        }
        self.kept.push(Version { number, name, folder: folder.clone(), kind });
        if self.kept.len() > 2 {
            self.forget(0);
        }
        Ok(())
    }

    fn forget(&mut self, i: usize) {
        let Version { folder, .. } = self.kept.remove(i);
        if let Err(error) = fs::remove_dir_all(&folder) {
            tracing::warn!("{}: an old policy cannot be removed: {error}", folder.display());
        }
    }
}

impl Drop for Publisher {
    /// No server needs them any more.
    fn drop(&mut self) {
        while !self.kept.is_empty() {
            self.forget(0);
        }
        // Unless something else is in it.
        let _ = fs::remove_dir(&self.folder);
    }
}
