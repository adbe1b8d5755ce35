//! Text files of a checkpoint.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use grpo_files::write_bytes;
use serde::Serialize;

use crate::CheckpointError;

/// The most bytes that a text file may have: far above any real one.
const MAX_TEXT: u64 = 1 << 20;

/// Writes a text file of a checkpoint.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), CheckpointError> {
    let text = serde_json::to_string_pretty(value).expect("names and numbers can be written") + "\n";
    write_bytes(path, text).map_err(CheckpointError::io(path))
}

/// The content of a text file of a checkpoint.
pub(crate) fn read_text(path: &Path) -> Result<String, CheckpointError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text));
    read.map(|_| text).map_err(CheckpointError::io(path))
}
