//! The contents of a checkpoint's folder: the sizes and SHA-256 sums of its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::path::Path;

use grpo_files::{is_inside, sha256, sync_folder};
use serde::{Deserialize, Serialize};

use super::json::{read_text, write_json};
use crate::CheckpointError;

const MANIFEST: &str = "manifest.json";
/// The version of the manifest and of the files that it lists.
const FORMAT: u32 = 4;

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

/// Syncs all files of a folder, and lists them in its manifest as they are when read back.
pub(crate) fn seal(folder: &Path) -> Result<(), CheckpointError> {
    let mut files = BTreeMap::new();
    for name in files_of(folder)? {
        let path = folder.join(&name);
        files.insert(name, entry(&path)?);
        // Some systems sync files only through handles that can write; one that can only read does not work there.
        let file = OpenOptions::new().write(true).open(&path);
        file.and_then(|file| file.sync_all()).map_err(CheckpointError::io(&path))?;
        let parent = path.parent().expect("a file is in a folder");
        sync_folder(parent).map_err(CheckpointError::io(parent))?;
    }
    write_json(&folder.join(MANIFEST), &Manifest { format: FORMAT, files })
}

/// Checks a folder against its manifest: it must have all the listed files, unchanged, and no others.
pub(crate) fn verify(folder: &Path) -> Result<(), CheckpointError> {
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
        // A link may lead anywhere, and reading other kinds of files may never end.
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

/// The names in a folder; none if the folder does not exist.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
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

/// The files in a folder and its subfolders, as paths separated by `/`. Links are never followed.
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
