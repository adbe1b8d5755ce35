//! Which columns of a dataset are read, and how the truth is taken from the answer.

use std::path::Path;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::truth::truth;
use crate::{Example, LoadError};

/// The columns that are read, and how the truth is taken. The default is the layout of GSM8K.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The column of questions.
    pub question: String,
    /// The column of answers.
    pub answer: String,
    /// What of an answer is its truth.
    pub truth: Truth,
}

/// What of an answer rewards compare with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "Value")]
pub enum Truth {
    /// The rest of the line after the last `####`, trimmed. Numbers lose the commas between groups of three digits and the dollar
    /// sign: `#### $1,250` is `1250`. Everything else stays: `#### (3, 5)` is `(3, 5)`.
    #[default]
    Hashes,
    /// The whole answer, trimmed.
    Whole,
    /// The content of the last `\boxed{…}`, trimmed: MATH.
    Boxed,
    /// The last match of a regular expression of the crate `regex`: the first group that took part in it, or the whole match; trimmed.
    Pattern(String),
}

impl TryFrom<Value> for Truth {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let pattern = value.get("pattern").and_then(Value::as_str);
        match (value.as_str(), pattern) {
            (Some("hashes"), _) => Ok(Self::Hashes),
            (Some("whole"), _) => Ok(Self::Whole),
            (Some("boxed"), _) => Ok(Self::Boxed),
            (None, Some(pattern)) => Ok(Self::Pattern(pattern.to_owned())),
            _ => Err("choose hashes, whole, boxed or { pattern = '…' }"),
        }
    }
}

impl Default for Columns {
    fn default() -> Self {
        Self { question: "question".to_owned(), answer: "answer".to_owned(), truth: Truth::default() }
    }
}

/// Makes examples of rows.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) columns: Columns,
    /// That of [`Truth::Pattern`].
    pattern: Option<Regex>,
}

impl Reader {
    /// # Errors
    ///
    /// If the pattern is not a regular expression, or both columns are the same.
    pub(crate) fn new(columns: &Columns) -> Result<Self, LoadError> {
        let pattern = match &columns.truth {
            Truth::Pattern(pattern) => Some(
                Regex::new(pattern)
                    .map_err(|e| LoadError::Pattern { pattern: pattern.clone(), reason: e.to_string() })?,
            ),
            Truth::Hashes | Truth::Whole | Truth::Boxed => None,
        };
        if columns.question == columns.answer {
            return Err(LoadError::SameColumn { column: columns.question.clone() });
        }
        Ok(Self { columns: columns.clone(), pattern })
    }

    /// The example of a row; an error if its answer has no truth.
    pub(crate) fn example(
        &self,
        path: &Path,
        row: usize,
        question: String,
        solution: String,
    ) -> Result<Example, LoadError> {
        match self.truth(&solution).filter(|truth| !truth.is_empty()) {
            Some(truth) => Ok(Example { question, solution, truth }),
            None => Err(LoadError::NoTruth { path: path.to_owned(), row, reason: self.advice() }),
        }
    }

    fn truth(&self, solution: &str) -> Option<String> {
        let found = match &self.columns.truth {
            Truth::Hashes => return truth(solution),
            Truth::Whole => solution,
            Truth::Boxed => boxed(solution)?,
            Truth::Pattern(_) => {
                let found = self.pattern.as_ref()?.captures_iter(solution).last()?;
                found.iter().skip(1).flatten().next().or(found.get(0))?.as_str()
            }
        };
        Some(found.trim().to_owned())
    }

    /// Whether answers may be numbers: they are their own truths.
    pub(crate) fn takes_numbers(&self) -> bool {
        self.columns.truth != Truth::Hashes
    }

    /// What an answer without a truth lacks, and what to do.
    fn advice(&self) -> String {
        match &self.columns.truth {
            Truth::Hashes => {
                "has no result after `####`; end it with a line `#### 42`, or set `truth`".to_owned()
            }
            Truth::Whole => "is empty; fill or remove the row".to_owned(),
            Truth::Boxed => "has no `\\boxed{…}`, or an empty one; add it, or set `truth`".to_owned(),
            Truth::Pattern(pattern) => {
                format!("has no match of {pattern:?}, or an empty one; change the pattern, or the row")
            }
        }
    }
}

/// The content of the last `\boxed{…}` whose braces are balanced.
fn boxed(solution: &str) -> Option<&str> {
    solution.rmatch_indices("\\boxed{").find_map(|(at, start)| {
        let content = &solution[at + start.len()..];
        let mut depth = 1;
        for (end, c) in content.char_indices() {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 {
                return Some(&content[..end]);
            }
        }
        None
    })
}
