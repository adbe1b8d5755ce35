//! Held-out problems, answered before and after training.

use std::path::Path;

use grpo_record::{CompletionRecord, RecordError, read_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::completion::Completion;

/// An item of `evaluation.json`.
#[derive(Deserialize)]
struct Comparison {
    before: Answers,
    after: Answers,
}

#[derive(Deserialize)]
struct Answers {
    test: String,
    completions: Vec<CompletionRecord>,
}

/// The problems of a test.
#[derive(Debug, Serialize)]
pub(crate) struct Test {
    test: String,
    problems: Vec<Answered>,
}

/// A problem, and how it was answered.
#[derive(Debug, Serialize)]
struct Answered {
    problem: u64,
    question: String,
    truth: Value,
    prompt: String,
    before: Completion,
    after: Completion,
}

/// The tests of a run with these rewards; none if it has not ended.
pub(crate) fn tests(folder: &Path, rewards: &[String]) -> Result<Vec<Test>, RecordError> {
    let comparisons: Option<Vec<Comparison>> = read_json(&folder.join("evaluation.json"))?;
    let answered = |(before, after): (CompletionRecord, CompletionRecord)| Answered {
        before: Completion::new(&before, rewards),
        after: Completion::new(&after, rewards),
        problem: before.problem,
        question: before.question,
        truth: before.truth,
        prompt: before.prompt,
    };
    let test = |Comparison { before, after }| Test {
        test: before.test,
        problems: before.completions.into_iter().zip(after.completions).map(answered).collect(),
    };
    Ok(comparisons.unwrap_or_default().into_iter().map(test).collect())
}
