//! One JSON object per line.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::reader::{Place, Reader, Row};
use crate::{Example, LoadError};

/// What some editors put at the start of a file, and so at the start of a line if such files were joined.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a whole file. Blank lines are skipped.
pub(crate) fn read(path: &Path, reader: &Reader) -> Result<Vec<Example>, LoadError> {
    let mut file = BufReader::new(File::open(path).map_err(LoadError::io(path))?);
    let mut examples = Vec::new();
    let mut bytes = Vec::new();
    let required = reader.columns.required();
    for number in 1.. {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(LoadError::io(path))? == 0 {
            break;
        }
        let line = Line { path, number, required: &required };
        let text = line.decode(&bytes)?;
        if !text.trim().is_empty() {
            let row = line.parse(text.trim_end())?;
            examples.extend(reader.example(Place { path, unit: "line", number }, row)?);
        }
    }
    Ok(examples)
}

struct Line<'a> {
    path: &'a Path,
    number: usize,
    required: &'a [&'a str],
}

impl Line<'_> {
    fn decode<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, LoadError> {
        if let (1, Some(encoding)) = (self.number, other_encoding(bytes)) {
            return Err(LoadError::Encoding { path: self.path.to_owned(), encoding });
        }
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let byte = e.valid_up_to() + 1;
            LoadError::Utf8 { path: self.path.to_owned(), line: self.number, byte }
        })?;
        Ok(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
    }

    /// All columns; only the required ones if the others hold what no program can represent.
    fn parse(&self, text: &str) -> Result<Row, LoadError> {
        let bytes = with_nulls(text);
        let read = |only_required| {
            let mut json = serde_json::Deserializer::from_slice(&bytes);
            let fields = Fields { required: self.required, only_required }.deserialize(&mut json)?;
            json.end().map(|()| fields)
        };
        let read_all = read(false).or_else(|_| {
            let required = read(true)?;
            let place = format!("{}: line {}", self.path.display(), self.number);
            tracing::warn!(
                "{place} holds a value that cannot be represented: only its {} are read",
                self.required.join(" and ")
            );
            Ok(required)
        });
        let Found { row, repeated } = read_all.map_err(|e: serde_json::Error| {
            // The parser also counts lines, and sees only one.
            let reason = e.to_string().replace(" at line 1 column ", " at column ");
            LoadError::Json { path: self.path.to_owned(), line: self.number, reason }
        })?;
        let (path, line) = (self.path.to_owned(), self.number);
        if let Some(field) = repeated {
            return Err(LoadError::Repeated { path, line, field });
        }
        match self.required.iter().find(|field| !row.contains_key(**field)) {
            Some(field) => Err(LoadError::Field { path, line, field: (*field).to_owned() }),
            None => Ok(row),
        }
    }
}

/// The encoding that the start of a file suggests, if it is not UTF-8.
fn other_encoding(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32LE"),
        [0, 0, 0xfe, 0xff, ..] => Some("UTF-32BE"),
        [0xff, 0xfe, ..] | [b'{', 0, ..] => Some("UTF-16LE"),
        [0xfe, 0xff, ..] | [0, b'{', ..] => Some("UTF-16BE"),
        _ => None,
    }
}

/// The line with null instead of the words `NaN`, `Infinity` and `-Infinity`, which Python writes although JSON has no such numbers.
fn with_nulls(line: &str) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 2] = [b"NaN", b"Infinity"];
    if !line.contains("NaN") && !line.contains("Infinity") {
        return line.as_bytes().into();
    }
    let (line, mut bytes) = (line.as_bytes(), Vec::with_capacity(line.len() + 1));
    let (mut in_string, mut at) = (false, 0);
    while at < line.len() {
        let word = WORDS.into_iter().find(|word| !in_string && line[at..].starts_with(word));
        if let Some(word) = word.filter(|word| begins_a_value(&line[..at], word)) {
            // The sign of `-Infinity`.
            if bytes.last() == Some(&b'-') {
                bytes.pop();
            }
            bytes.extend(b"null");
            at += word.len();
            continue;
        }
        let escaped = usize::from(in_string && line[at] == b'\\');
        in_string ^= line[at] == b'"';
        let end = (at + 1 + escaped).min(line.len());
        bytes.extend(&line[at..end]);
        at = end;
    }
    bytes.into()
}

/// Whether a word that follows `before` is a value, not the end of `1e-Infinity`.
fn begins_a_value(before: &[u8], word: &[u8]) -> bool {
    let before = if word == b"Infinity" { before.strip_suffix(b"-").unwrap_or(before) } else { before };
    before.last().is_some_and(|byte| byte.is_ascii_whitespace() || b":,[".contains(byte))
}

/// Reads the fields of a line.
#[derive(Clone, Copy)]
struct Fields<'a> {
    required: &'a [&'a str],
    /// Whether the other fields are skipped.
    only_required: bool,
}

/// The fields of a line.
struct Found {
    row: Row,
    /// A required field that has two different values.
    repeated: Option<String>,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Found { row: Row::new(), repeated: None };
        while let Some(name) = map.next_key::<String>()? {
            let is_required = self.required.contains(&name.as_str());
            if self.only_required && !is_required {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<Value>()?;
            let is_other = found.row.get(&name).is_some_and(|other| *other != value);
            if is_required && is_other {
                found.repeated = Some(name.clone());
            }
            found.row.insert(name, value);
        }
        Ok(found)
    }
}
