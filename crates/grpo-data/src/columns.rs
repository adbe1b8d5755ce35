//! Which columns of a dataset are read, and what becomes of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is read of a row, and how the truth is taken. The default is the layout of GSM8K.
///
/// Templates are those of Jinja ([`minijinja`]); their variables are the columns of the row, and an unknown variable is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The column of questions: texts, or conversations (lists of messages with a `role` and a `content`).
    pub question: String,
    /// The column of answers.
    pub answer: String,
    /// What of an answer is its truth.
    pub truth: Truth,
    /// A template of the question, which takes the place of its column.
    pub prompt: Option<String>,
    /// An expression: only rows for which it is true are read.
    pub filter: Option<String>,
}

/// What rewards compare with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "Value")]
pub enum Truth {
    /// The rest of the line after the last `####` of the answer, trimmed. Numbers lose the commas between groups of three digits
    /// and the dollar sign: `#### $1,250` is `1250`. Everything else stays: `#### (3, 5)` is `(3, 5)`.
    #[default]
    Hashes,
    /// The whole answer, trimmed.
    Whole,
    /// The content of the last `\boxed{…}` of the answer, trimmed: MATH.
    Boxed,
    /// The last match of a regular expression of the crate `regex`: the first group that took part in it, or the whole match; trimmed.
    Pattern(String),
    /// A template, which takes the place of the column of answers; trimmed.
    Template(String),
}

impl TryFrom<Value> for Truth {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        match value.as_str() {
            Some("hashes") => return Ok(Self::Hashes),
            Some("whole") => return Ok(Self::Whole),
            Some("boxed") => return Ok(Self::Boxed),
            _ => {}
        }
        match (text("pattern"), text("template")) {
            (Some(pattern), None) => Ok(Self::Pattern(pattern)),
            (None, Some(template)) => Ok(Self::Template(template)),
            _ => Err("choose hashes, whole, boxed, { pattern = '…' } or { template = '…' }"),
        }
    }
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            question: "question".to_owned(),
            answer: "answer".to_owned(),
            truth: Truth::default(),
            prompt: None,
            filter: None,
        }
    }
}

impl Columns {
    /// The columns that every row must have.
    pub(crate) fn required(&self) -> Vec<&str> {
        let question = self.prompt.is_none().then_some(self.question.as_str());
        let answer = (!matches!(self.truth, Truth::Template(_))).then_some(self.answer.as_str());
        let mut required: Vec<&str> = question.into_iter().chain(answer).collect();
        required.dedup();
        required
    }
}
