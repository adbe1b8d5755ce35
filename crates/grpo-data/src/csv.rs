//! Comma-separated values, with names of columns in the first line.

use std::path::Path;

use ::csv::{ErrorKind, Reader as Lines};
use serde_json::Value;

use crate::reader::{Place, Reader, Row};
use crate::{Example, LoadError};

/// Reads a whole file. Every value is text.
pub(crate) fn read(path: &Path, reader: &Reader) -> Result<Vec<Example>, LoadError> {
    let failed = |error: ::csv::Error| {
        let row = error.position().map_or(1, |place| place.record() as usize);
        match error.into_kind() {
            ErrorKind::Io(cause) => LoadError::io(path)(cause),
            ErrorKind::Utf8 { err, .. } => {
                let reason = format!("its column {} is not UTF-8: save the file as UTF-8", err.field() + 1);
                LoadError::Csv { path: path.to_owned(), row, reason }
            }
            ErrorKind::UnequalLengths { expected_len, len, .. } => {
                let reason = format!(
                    "it has {len} values for {expected_len} columns: a value with a comma needs quotes"
                );
                LoadError::Csv { path: path.to_owned(), row, reason }
            }
            other => LoadError::Csv { path: path.to_owned(), row, reason: format!("{other:?}") },
        }
    };
    let mut lines = Lines::from_path(path).map_err(failed)?;
    let names = lines.headers().map_err(failed)?.clone();
    let names: Vec<&str> = names.iter().map(|name| name.trim_start_matches('\u{feff}')).collect();
    if let Some(name) = names.iter().find(|name| names.iter().filter(|other| other == name).count() > 1) {
        let reason = format!("it has several columns `{name}`: rename one of them");
        return Err(LoadError::Csv { path: path.to_owned(), row: 0, reason });
    }
    for column in reader.columns.required() {
        if !names.contains(&column) {
            let found = names.iter().map(|&name| name.to_owned()).collect();
            return Err(LoadError::Column { path: path.to_owned(), column: column.to_owned(), found });
        }
    }
    let mut examples = Vec::new();
    for (i, line) in lines.records().enumerate() {
        let line = line.map_err(failed)?;
        let named = names.iter().zip(&line);
        let row: Row = named.map(|(name, text)| ((*name).to_owned(), Value::from(text))).collect();
        examples.extend(reader.example(Place { path, unit: "row", number: i + 1 }, row)?);
    }
    Ok(examples)
}
