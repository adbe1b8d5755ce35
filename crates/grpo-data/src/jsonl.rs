//! One JSON object per line.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::{Example, LoadError};

/// What some editors put at the start of a file, and so at the start of a line if such files were joined.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a whole file. Blank lines are skipped.
pub(crate) fn read(path: &Path) -> Result<Vec<Example>, LoadError> {
    let mut reader = BufReader::new(File::open(path).map_err(LoadError::io(path))?);
    let mut examples = Vec::new();
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(LoadError::io(path))? == 0 {
            break;
        }
        let line = Line { path, number };
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
        let Fields { questions, answers } =
            serde_json::from_slice(&with_json_numbers(text)).map_err(|e| {
                // The parser also counts lines, and sees only one.
                let reason = e.to_string().replace(" at line 1 column ", " at column ");
                LoadError::Json { path: self.path.to_owned(), line: self.number, reason }
            })?;
        let question = self.text(questions, "question")?;
        let answer = self.text(answers, "answer")?;
        Example::new(question, answer)
            .ok_or_else(|| LoadError::NoTruth { path: self.path.to_owned(), row: self.number })
    }

    /// The text of a field, from all values that the line gives it.
    fn text(&self, mut values: Vec<Value>, field: &'static str) -> Result<String, LoadError> {
        let last = values.pop();
        if values.iter().any(|value| Some(value) != last.as_ref()) {
            return Err(LoadError::Repeated { path: self.path.to_owned(), line: self.number, field });
        }
        let found = match last {
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

/// The line with 0 instead of the words `NaN`, `Infinity` and `-Infinity`, which Python writes although JSON has no
/// such numbers. In a field that is read, they are an error, like every number.
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
                    bytes[at] = b'0';
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

/// The values of the fields that are read; the other fields may hold values that no program could represent.
struct Fields {
    questions: Vec<Value>,
    answers: Vec<Value>,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Name {
    Question,
    Answer,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields { questions: Vec::new(), answers: Vec::new() };
        while let Some(name) = map.next_key()? {
            match name {
                Name::Question => fields.questions.push(map.next_value()?),
                Name::Answer => fields.answers.push(map.next_value()?),
                Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}
