//! Text files of a model folder.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::ModelError;

/// What a Git LFS pointer begins with.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Reads a text file, without a byte order mark.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    let text = std::fs::read_to_string(path).map_err(ModelError::io(path))?;
    check_pointer(path, text.as_bytes())?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Reads a JSON file; an error names the file, the key and the position.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    parse_json(path, &read_text(path)?)
}

/// Parses the text of a JSON file.
pub(crate) fn parse_json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ModelError> {
    serde_json::from_str(text).map_err(|e| ModelError::Json { path: path.into(), reason: e.to_string() })
}

/// A value as messages show it: a string without its quotes.
pub(crate) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Rejects a Git LFS pointer.
pub(crate) fn check_pointer(path: &Path, beginning: &[u8]) -> Result<(), ModelError> {
    if beginning.starts_with(LFS_POINTER) {
        return Err(ModelError::LfsPointer { path: path.into() });
    }
    Ok(())
}
