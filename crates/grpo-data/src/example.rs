//! One row of a dataset.

use crate::truth::truth;

/// One row of a dataset: a question, its worked solution and the result that rewards compare with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The column `question`.
    pub question: String,
    /// The whole column `answer`: the worked solution with its result.
    pub solution: String,
    /// The rest of the line after the last `####` of the solution, trimmed. Numbers lose the commas between groups of
    /// three digits and the dollar sign: `#### $1,250` is `1250`. Everything else stays: `#### (3, 5)` is `(3, 5)`.
    pub truth: String,
}

impl Example {
    /// `None` if the solution states no result.
    pub(crate) fn new(question: String, solution: String) -> Option<Self> {
        let truth = truth(&solution)?;
        Some(Self { question, solution, truth })
    }
}
