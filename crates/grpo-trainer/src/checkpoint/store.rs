//! Checkpoints on the disk: folders that are either complete or absent.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use grpo_files::{rename_durably, sync_folder};

use super::manifest::{names, seal, verify};
use crate::CheckpointError;

/// Digits of a step in a folder's name.
const DIGITS: usize = 8;
/// The suffix of a folder that is being written or deleted.
const PARTIAL: &str = ".partial";
/// The suffix of a folder that is being replaced.
const REPLACED: &str = "replaced.partial";

/// The checkpoints of a run: one folder each, such as `step-00000050`, with a manifest of the sizes and SHA-256 sums of its
/// files.
///
/// A checkpoint is written under another name, synced and then renamed; before it is deleted, it is renamed, too. So a
/// checkpoint under its own name is complete, unless its files were damaged later, which the manifest reveals. The folder
/// belongs to a single run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: NonZeroUsize,
    /// The step of one that is kept whatever its age.
    best: Option<u64>,
}

/// A checkpoint whose files are unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The folder.
    pub path: PathBuf,
    /// Steps completed before it.
    pub step: u64,
}

/// The newest intact checkpoint.
#[derive(Debug)]
pub struct Latest {
    /// None if there are no checkpoints.
    pub checkpoint: Option<Checkpoint>,
    /// What is wrong with newer ones.
    pub damaged: Vec<CheckpointError>,
}

impl Checkpoints {
    /// Checkpoints in `folder`, which is created when there is something to write. Only the newest `keep` of them are kept; the
    /// others are deleted.
    pub fn new(folder: impl Into<PathBuf>, keep: NonZeroUsize) -> Self {
        Self { folder: folder.into(), keep, best: None }
    }

    /// From now on, the checkpoint after `step` steps is kept besides the newest ones, in place of the one named before.
    pub fn keep_best(&mut self, step: u64) {
        self.best = Some(step);
    }

    /// The folder of the checkpoint after `step` steps, if there is one.
    pub fn find(&self, step: u64) -> Option<PathBuf> {
        Some(self.path(step)).filter(|path| path.is_dir())
    }

    /// Lets `write` fill the folder of a checkpoint after `step` steps, replacing one of the same step. Later ones are deleted:
    /// they were skipped when the run was resumed, or belong to another run.
    pub fn save<E: From<CheckpointError>>(
        &self,
        step: u64,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let path = self.path(step);
        let partial = partial(&path);
        self.make()?;
        std::fs::create_dir(&partial).map_err(CheckpointError::io(&partial))?;
        let result = write(&partial).and_then(|()| {
            seal(&partial)?;
            remove(&path, &self.folder.join(REPLACED))?;
            Ok(rename_durably(&partial, &path).map_err(CheckpointError::io(&path))?)
        });
        if result.is_err() {
            // Half a checkpoint is useless; the error to report is why there is no complete one.
            let _ = std::fs::remove_dir_all(&partial);
        }
        result?;
        // The checkpoint is complete; that others could not be deleted does not change that.
        if let Err(error) = self.prune(step) {
            tracing::warn!("an old checkpoint could not be deleted: {error}");
        }
        Ok(path)
    }

    /// Creates the folder, and cleans it up: checkpoints that are half written or half deleted are removed.
    fn make(&self) -> Result<(), CheckpointError> {
        std::fs::create_dir_all(&self.folder).map_err(CheckpointError::io(&self.folder))?;
        let parent = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_folder(parent.unwrap_or(Path::new("."))).map_err(CheckpointError::io(&self.folder))?;
        for name in names(&self.folder)?.iter().filter(|name| name.ends_with(PARTIAL)) {
            let path = self.folder.join(name);
            std::fs::remove_dir_all(&path).map_err(CheckpointError::io(&path))?;
        }
        Ok(())
    }

    /// The newest intact checkpoint after at most this many steps. If there are some and all are damaged, that is an error.
    pub fn latest(&self, at_most: u64) -> Result<Latest, CheckpointError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev().filter(|step| *step <= at_most) {
            let path = self.path(step);
            match verify(&path) {
                Ok(()) => return Ok(Latest { checkpoint: Some(Checkpoint { path, step }), damaged }),
                Err(error) => damaged.push(error),
            }
        }
        if damaged.is_empty() {
            Ok(Latest { checkpoint: None, damaged })
        } else {
            Err(CheckpointError::AllDamaged { path: self.folder.clone(), damaged })
        }
    }

    /// The steps that have a checkpoint, in order.
    fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        let names = names(&self.folder)?;
        let step = |name: &String| name.strip_prefix("step-")?.parse().ok();
        let steps = names.iter().filter_map(step);
        // A name with fewer digits, for example, is not one of ours.
        let mut steps: Vec<u64> = steps.filter(|step| names.contains(&name(*step))).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(name(step))
    }

    /// Deletes all but the newest up to `step`, and the best.
    fn prune(&self, step: u64) -> Result<(), CheckpointError> {
        let (mut old, later): (Vec<u64>, Vec<u64>) =
            self.steps()?.into_iter().partition(|other| *other <= step);
        old.truncate(old.len().saturating_sub(self.keep.get()));
        for step in old.into_iter().filter(|step| Some(*step) != self.best).chain(later) {
            let path = self.path(step);
            remove(&path, &partial(&path))?;
        }
        Ok(())
    }
}

fn name(step: u64) -> String {
    format!("step-{step:0DIGITS$}")
}

fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(PARTIAL);
    partial.into()
}

/// Deletes a folder if it exists. Before any of its files is deleted, it is renamed to `doomed`.
fn remove(path: &Path, doomed: &Path) -> Result<(), CheckpointError> {
    if !path.exists() {
        return Ok(());
    }
    std::fs::rename(path, doomed).map_err(CheckpointError::io(path))?;
    std::fs::remove_dir_all(doomed).map_err(CheckpointError::io(doomed))
}
