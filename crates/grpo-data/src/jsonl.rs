//! One JSON object per line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

use crate::load::at;
use crate::{LoadError, Problem};

/// Reads a whole file. Blank lines are skipped.
pub(crate) fn read(path: &Path) -> Result<Vec<Problem>, LoadError> {
    let mut reader = BufReader::new(File::open(path).map_err(|source| at(path, source))?);
    let mut problems = Vec::new();
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(|source| at(path, source))? == 0 {
            break;
        }
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            let byte = e.valid_up_to() + 1;
            LoadError::Utf8 { path: path.to_owned(), line: number, byte }
        })?;
        if !text.trim().is_empty() {
            problems.push(Line { path, number }.parse(text)?);
        }
    }
    Ok(problems)
}

struct Line<'a> {
    path: &'a Path,
    number: usize,
}

impl Line<'_> {
    fn parse(&self, text: &str) -> Result<Problem, LoadError> {
        let mut object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|source| LoadError::Json { path: self.path.to_owned(), line: self.number, source })?;
        let question = self.take(&mut object, "question")?;
        let answer = self.take(&mut object, "answer")?;
        Problem::new(question, answer)
            .ok_or_else(|| LoadError::NoTruth { path: self.path.to_owned(), row: self.number })
    }

    fn take(&self, object: &mut Map<String, Value>, field: &'static str) -> Result<String, LoadError> {
        let found = match object.remove(field) {
            Some(Value::String(text)) => return Ok(text),
            None => return Err(LoadError::Field { path: self.path.to_owned(), line: self.number, field }),
            Some(Value::Null) => "null",
            Some(Value::Bool(_)) => "a boolean",
            Some(Value::Number(_)) => "a number",
            Some(Value::Array(_)) => "a list",
            Some(Value::Object(_)) => "an object",
        };
        let place = format!("{}: line {}", self.path.display(), self.number);
        Err(LoadError::Type { place, column: field, found: found.to_owned() })
    }
}
