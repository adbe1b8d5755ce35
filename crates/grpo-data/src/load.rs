//! Datasets on disk: a file, or a folder that holds files by split.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::reader::Reader;
use crate::{Columns, Example, LoadError, Split, csv, jsonl, parquet};

/// The start of the pointer files that remain if Git LFS was not run (<https://git-lfs.com>).
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Reads the examples at `path`: a `.parquet`, `.jsonl` or `.csv` file (whatever the split), or a folder that holds
/// `{split}-*.parquet`, `{split}.parquet` or `{split}/*.parquet` (or `.jsonl` or `.csv` instead), in the folder of the configuration,
/// or without one either directly or in `main`, `data` or `default`.
///
/// # Errors
///
/// [`LoadError`] names the file and the row or line. A dataset is read completely or not at all.
pub fn load(path: impl AsRef<Path>, split: &Split, columns: &Columns) -> Result<Vec<Example>, LoadError> {
    let path = path.as_ref();
    let meta = fs::metadata(path).map_err(LoadError::io(path))?;
    let files = if meta.is_dir() { split_files(path, split)? } else { vec![path.to_owned()] };
    load_files(&files, columns)
}

/// All examples in the files that make up one dataset.
pub(crate) fn load_files(files: &[PathBuf], columns: &Columns) -> Result<Vec<Example>, LoadError> {
    let reader = Reader::new(columns)?;
    let mut examples = Vec::new();
    for file in files {
        let found = load_file(file, &reader)?;
        if found.is_empty() && columns.filter.is_none() {
            tracing::warn!("{}: has no rows", file.display());
        }
        examples.extend(found);
    }
    if examples.is_empty() {
        let files = files.to_owned();
        return Err(match columns.filter {
            Some(_) => LoadError::Filtered { files },
            None => LoadError::Empty { files },
        });
    }
    Ok(examples)
}

/// The files of a split in a folder, in order.
pub(crate) fn split_files(folder: &Path, split: &Split) -> Result<Vec<PathBuf>, LoadError> {
    let mut names = Vec::new();
    for prefix in split.folders() {
        // A Hub conversion that was cut off at a size limit is `partial-train`; it is listed, not read.
        let name = &split.name;
        for inner in [String::new(), format!("{name}/"), format!("partial-{name}/")] {
            names.extend(file_names(folder, &format!("{prefix}{inner}"))?);
        }
    }
    let chosen = split.choose(&folder.display().to_string(), &names)?;
    Ok(chosen.iter().map(|name| folder.join(name)).collect())
}

fn file_names(folder: &Path, prefix: &str) -> Result<Vec<String>, LoadError> {
    let folder = folder.join(prefix);
    let entries = match fs::read_dir(&folder) {
        // None of these folders is required.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        other => other.map_err(LoadError::io(&folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(LoadError::io(&folder))?;
        if entry.path().is_file() {
            names.push(format!("{prefix}{}", entry.file_name().to_string_lossy()));
        }
    }
    Ok(names)
}

fn load_file(path: &Path, reader: &Reader) -> Result<Vec<Example>, LoadError> {
    check_start(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => parquet::read(path, reader),
        Some("jsonl") => jsonl::read(path, reader),
        Some("csv") => csv::read(path, reader),
        _ => Err(LoadError::Format { path: path.to_owned() }),
    }
}

/// Refuses pointers to a file and compressed files, whatever their name says.
fn check_start(path: &Path) -> Result<(), LoadError> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LFS_POINTER.len() as u64).read_to_end(&mut start));
    read.map_err(LoadError::io(path))?;
    match start.as_slice() {
        LFS_POINTER => Err(LoadError::LfsPointer { path: path.to_owned() }),
        [0x1f, 0x8b, ..] => Err(LoadError::Packed { path: path.to_owned(), tool: "gzip" }),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(LoadError::Packed { path: path.to_owned(), tool: "zstd" }),
        _ => Ok(()),
    }
}
