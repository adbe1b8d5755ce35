//! One JSON object per line.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::columns::Reader;
use crate::{Columns, Example, LoadError};

/// What some editors put at the start of a file, and so at the start of a line if such files were joined.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a whole file. Blank lines are skipped.
pub(crate) fn read(path: &Path, reader: &Reader) -> Result<Vec<Example>, LoadError> {
    let mut file = BufReader::new(File::open(path).map_err(LoadError::io(path))?);
    let mut examples = Vec::new();
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if file.read_until(b'\n', &mut bytes).map_err(LoadError::io(path))? == 0 {
            break;
        }
        let line = Line { path, number, reader };
        let text = line.decode(&bytes)?;
        if !text.trim().is_empty() {
            examples.push(line.parse(text.trim_end())?);
        }
    }
    Ok(examples)
}

struct Line<'a> {
    path: &'a Path,
    number: usize,
    reader: &'a Reader,
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

    fn parse(&self, text: &str) -> Result<Example, LoadError> {
        let Columns { question, answer, .. } = &self.reader.columns;
        let bytes = with_json_numbers(text);
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let fields = Fields([question, answer]).deserialize(&mut json);
        let [questions, answers] = fields.and_then(|found| json.end().map(|()| found)).map_err(|e| {
            // The parser also counts lines, and sees only one.
            let reason = e.to_string().replace(" at line 1 column ", " at column ");
            LoadError::Json { path: self.path.to_owned(), line: self.number, reason }
        })?;
        let question = self.text(questions, question, false)?;
        let answer = self.text(answers, answer, self.reader.takes_numbers())?;
        self.reader.example(self.path, self.number, question, answer)
    }

    /// The text of a field, from all values that the line gives it; of a whole number, if it may be one.
    fn text(&self, mut values: Vec<Value>, field: &str, takes_numbers: bool) -> Result<String, LoadError> {
        let last = values.pop();
        if values.iter().any(|value| Some(value) != last.as_ref()) {
            return Err(LoadError::Repeated {
                path: self.path.to_owned(),
                line: self.number,
                field: field.to_owned(),
            });
        }
        let found = match last {
            Some(Value::String(text)) => return Ok(text),
            Some(Value::Number(number)) if takes_numbers => match number.is_i64() || number.is_u64() {
                true => return Ok(number.to_string()),
                false => "a number that is not whole",
            },
            None => {
                return Err(LoadError::Field {
                    path: self.path.to_owned(),
                    line: self.number,
                    field: field.to_owned(),
                });
            }
            Some(Value::Null) => "null",
            Some(Value::Bool(_)) => "a boolean",
            Some(Value::Number(_)) => "a number",
            Some(Value::Array(_)) => "a list",
            Some(Value::Object(_)) => "an object",
        };
        let place = format!("{}: line {}", self.path.display(), self.number);
        Err(LoadError::Type { place, column: field.to_owned(), found: found.to_owned() })
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

/// The line with -0 instead of the words `NaN`, `Infinity` and `-Infinity`, which Python writes although JSON has no such numbers. In
/// a field that is read, they are an error: -0 is not a whole number.
fn with_json_numbers(line: &str) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 2] = [b"NaN", b"Infinity"];
    if !line.contains("NaN") && !line.contains("Infinity") {
        return line.as_bytes().into();
    }
    let mut bytes = line.as_bytes().to_vec();
    let (mut in_string, mut at) = (false, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            _ => {
                let word = WORDS.into_iter().find(|word| bytes[at..].starts_with(word));
                if let Some(word) = word.filter(|word| begins_a_value(&bytes[..at], word)) {
                    bytes[at..at + word.len()].fill(b' '); // keeps the columns in errors correct
                    // The sign of `-Infinity` is there.
                    let number = if bytes[..at].ends_with(b"-") { b"0 " } else { b"-0" };
                    bytes[at..at + 2].copy_from_slice(number);
                }
            }
        }
        at += 1;
    }
    bytes.into()
}

/// Whether a word that follows `before` is a value, not the end of `1e-Infinity`.
fn begins_a_value(before: &[u8], word: &[u8]) -> bool {
    let before = if word == b"Infinity" { before.strip_suffix(b"-").unwrap_or(before) } else { before };
    before.last().is_some_and(|byte| byte.is_ascii_whitespace() || b":,[".contains(byte))
}

/// Reads the values of two fields; the other fields may hold values that no program could represent.
struct Fields<'a>([&'a str; 2]);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = [Vec<Value>; 2];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = [Vec<Value>; 2];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [Vec::new(), Vec::new()];
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            match self.0.iter().position(|field| *field == name) {
                Some(i) => values[i].push(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(values)
    }
}
