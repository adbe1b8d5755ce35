//! One row of a dataset.

use serde_json::{Map, Value};

/// One row of a dataset: a question, its answer, and what rewards compare with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// The messages before the question, if the row has a conversation.
    pub history: Vec<Turn>,
    /// The question.
    pub question: String,
    /// The whole answer: in GSM8K, the worked solution with its result. The truth, if that is a [template](crate::Truth::Template).
    pub solution: String,
    /// What rewards compare with: the [truth](crate::Truth).
    pub truth: String,
    /// All columns of the row but that of the question, and that of the answer if the truth is all of it.
    pub columns: Map<String, Value>,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whose it is: `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}
