//! Versions of the policy, in a folder that the servers see.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use grpo_files::rename_durably;

use crate::FleetError;

/// Writes a policy to a folder.
pub type Save<'a> = dyn Fn(&Path) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

/// What a version of the policy consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
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
    pub(crate) kind: PolicyKind,
}

/// Writes versions.
#[derive(Debug)]
pub(crate) struct Publisher {
    folder: PathBuf,
    /// Whether the folder was made here.
    made: bool,
    /// The part of names that tells this process from others.
    prefix: String,
    /// The newest, and the one before, which a server may still be using.
    kept: Vec<Version>,
}

impl Publisher {
    pub(crate) fn new(folder: PathBuf) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        // Two in one process may begin at the same time.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("grpo-{since:x}-{:x}-{count}", std::process::id());
        Self { folder, made: false, prefix, kept: Vec::new() }
    }

    /// The newest version.
    pub(crate) fn current(&self) -> Option<&Version> {
        self.kept.last()
    }

    /// Writes a version, unless it is there.
    pub(crate) fn publish(
        &mut self,
        number: u64,
        kind: PolicyKind,
        save: &Save<'_>,
    ) -> Result<(), FleetError> {
        if self.current().is_some_and(|current| current.number == number) {
            return Ok(());
        }
        let name = format!("{}-{number:08}", self.prefix);
        let folder = self.folder.join(&name);
        let failed = |reason: String| FleetError::Publication { folder: folder.clone(), reason };
        let partial = self.folder.join(format!("{name}.partial"));
        self.made |= !self.folder.exists();
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
        if self.made {
            // Unless something else is in it.
            let _ = fs::remove_dir(&self.folder);
        }
    }
}
