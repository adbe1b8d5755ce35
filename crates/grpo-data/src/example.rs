//! One row of a dataset.

/// One row of a dataset: a question, its answer, and what rewards compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The question.
    pub question: String,
    /// The whole answer: in GSM8K, the worked solution with its result.
    pub solution: String,
    /// What of the answer is its [truth](crate::Truth).
    pub truth: String,
}
