//! Checkpoints on the disk: folders that are whole or not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use grpo_qwen2::{rename_durably, sync_folder, write_atomically};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::CheckpointError;

const MANIFEST: &str = "manifest.json";
/// The version of the manifest and of what it lists.
const FORMAT: u32 = 1;
/// Digits of a step in a folder's name.
const DIGITS: usize = 8;
/// The most bytes that a file of text may have: far above any real one.
const MAX_TEXT: u64 = 1 << 20;
/// What ends the name of a folder that is being written or deleted.
const PARTIAL: &str = ".partial";
/// A folder that another one takes the place of.
const REPLACED: &str = "replaced.partial";

/// The checkpoints of a run: a folder `step-00000050` each, with a manifest of the sizes and SHA-256 sums of its files.
///
/// A checkpoint is written under another name, synced and then renamed; it is deleted under another name, too. So one that
/// has its name is whole, unless its files were damaged later, which the manifest tells. The folder is one run's alone.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    keep: NonZeroUsize,
}

/// A checkpoint whose files are as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The folder.
    pub path: PathBuf,
    /// Steps taken before it.
    pub step: u64,
}

/// The newest whole checkpoint.
#[derive(Debug)]
pub struct Latest {
    /// None if there is no checkpoint at all.
    pub checkpoint: Option<Checkpoint>,
    /// What is wrong with newer ones.
    pub damaged: Vec<CheckpointError>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    files: BTreeMap<String, Entry>,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

impl Checkpoints {
    /// Checkpoints in `folder`, which is made when there is something to write; of all but the newest `keep` of them the space
    /// is given back.
    pub fn new(folder: impl Into<PathBuf>, keep: NonZeroUsize) -> Self {
        Self { folder: folder.into(), keep }
    }

    /// Lets `write` fill the folder of a checkpoint after `step` steps, in the place of one of that step. Later ones go: they
    /// were passed over when the run was taken up, or are of another run.
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
            // Half a checkpoint is of no use; why there is no whole one is the error to report.
            let _ = std::fs::remove_dir_all(&partial);
        }
        result?;
        // The checkpoint is there; that others still are is no reason to doubt it.
        if let Err(error) = self.prune(step) {
            tracing::warn!("an old checkpoint could not be deleted: {error}");
        }
        Ok(path)
    }

    /// Makes the folder, and room in it: what was left half written or half deleted goes.
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

    /// The newest whole checkpoint after at most so many steps. Where there are some and all are damaged, that is an error.
    pub fn latest(&self, at_most: u64) -> Result<Latest, CheckpointError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev().filter(|step| *step <= at_most) {
            let path = self.path(step);
            match verify(&path) {
                Ok(()) => return Ok(Latest { checkpoint: Some(Checkpoint { path, step }), damaged }),
                Err(error) => damaged.push(error),
            }
        }
        match damaged.is_empty() {
            true => Ok(Latest { checkpoint: None, damaged }),
            false => Err(CheckpointError::AllDamaged { path: self.folder.clone(), damaged }),
        }
    }

    /// The steps that there are checkpoints of, in order.
    fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        let names = names(&self.folder)?;
        let step = |name: &String| name.strip_prefix("step-")?.parse().ok();
        let steps = names.iter().filter_map(step);
        // A name with fewer digits, say, is none of ours.
        let mut steps: Vec<u64> = steps.filter(|step| names.contains(&name(*step))).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(name(step))
    }

    /// Deletes all but the newest up to `step`.
    fn prune(&self, step: u64) -> Result<(), CheckpointError> {
        let (mut old, later): (Vec<u64>, Vec<u64>) =
            self.steps()?.into_iter().partition(|other| *other <= step);
        old.truncate(old.len().saturating_sub(self.keep.get()));
        for step in old.into_iter().chain(later) {
            let path = self.path(step);
            remove(&path, &partial(&path))?;
        }
        Ok(())
    }
}

fn name(step: u64) -> String {
    format!("step-{step:0DIGITS$}")
}

/// The names in a folder; none if there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(CheckpointError::io(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(CheckpointError::io(folder))?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

fn partial(path: &Path) -> PathBuf {
    let mut partial = path.as_os_str().to_owned();
    partial.push(PARTIAL);
    partial.into()
}

/// Deletes a folder, if there is one; before any of its files goes, so does its name, for that of `doomed`.
fn remove(path: &Path, doomed: &Path) -> Result<(), CheckpointError> {
    if !path.exists() {
        return Ok(());
    }
    std::fs::rename(path, doomed).map_err(CheckpointError::io(path))?;
    std::fs::remove_dir_all(doomed).map_err(CheckpointError::io(doomed))
}

/// Syncs all files of a folder, and lists them in its manifest with what is read back of them.
fn seal(folder: &Path) -> Result<(), CheckpointError> {
    let mut files = BTreeMap::new();
    for name in files_of(folder)? {
        let path = folder.join(&name);
        files.insert(name, entry(&path)?);
        // Where files are synced through handles that may write alone, one that may read does not do.
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|file| file.sync_all()).map_err(CheckpointError::io(&path))?;
        let parent = path.parent().expect("a file is in a folder");
        sync_folder(parent).map_err(CheckpointError::io(parent))?;
    }
    write_json(&folder.join(MANIFEST), &Manifest { format: FORMAT, files })
}

/// Checks a folder against its manifest: it has all files of it, as they were, and no others.
fn verify(folder: &Path) -> Result<(), CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { path: folder.into(), reason };
    let text = read_text(&folder.join(MANIFEST))?;
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|e| damaged(format!("{MANIFEST} cannot be read: {e}")))?;
    if manifest.format != FORMAT {
        return Err(damaged(format!(
            "{MANIFEST} is of format {}, and this version reads {FORMAT}",
            manifest.format
        )));
    }
    for (name, expected) in &manifest.files {
        if !is_inside(name) {
            return Err(damaged(format!("{MANIFEST} lists `{name}`, which is not in this folder")));
        }
        let path = folder.join(name);
        // A link may lead anywhere, and other kinds of files may never end.
        let is_file =
            path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == expected.bytes);
        if !is_file || entry(&path)? != *expected {
            return Err(damaged(format!("{name} is not what was written")));
        }
    }
    let listed: BTreeSet<&str> = manifest.files.keys().map(String::as_str).chain([MANIFEST]).collect();
    match files_of(folder)?.into_iter().find(|name| !listed.contains(name.as_str())) {
        Some(name) => Err(damaged(format!("{name} is not listed in {MANIFEST}"))),
        None => Ok(()),
    }
}

/// Writes a file of text of a checkpoint.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CheckpointError> {
    let text = serde_json::to_string_pretty(value).expect("names and numbers can be written") + "\n";
    write_atomically(path, |file| file.write_all(text.as_bytes())).map_err(CheckpointError::io(path))
}

/// The text of a file of a checkpoint.
pub(crate) fn read_text(path: &Path) -> Result<String, CheckpointError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text));
    read.map(|_| text).map_err(CheckpointError::io(path))
}

/// Whether a path leads nowhere but down from where it begins.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\\')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The files in a folder and the folders in it, with `/` between their names. Links are followed nowhere.
fn files_of(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let mut files = Vec::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        let kind = path.symlink_metadata().map_err(CheckpointError::io(&path))?;
        if kind.is_dir() {
            files.extend(files_of(&path)?.into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

fn entry(path: &Path) -> Result<Entry, CheckpointError> {
    let (bytes, sha256) = sha256(path).map_err(CheckpointError::io(path))?;
    Ok(Entry { bytes, sha256 })
}

/// How many bytes a file has, and their SHA-256 in hexadecimal digits.
pub fn sha256(path: &Path) -> std::io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let bytes = std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok((bytes, hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
