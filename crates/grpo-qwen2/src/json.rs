use std::path::Path;

use serde::de::DeserializeOwned;

use crate::ModelError;

/// Reads a JSON file; an error names the file, the key and the place.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = std::fs::read_to_string(path).map_err(ModelError::io(path))?;
    serde_json::from_str(&text).map_err(|e| ModelError::Json { path: path.into(), reason: e.to_string() })
}
