//! Reads the record of a run from its folder, whether the run has ended or not: `run.json`, `metrics.jsonl`, `times.jsonl`,
//! `evaluations.jsonl`, `before.json`, `evaluation.json`, and the lines of `completions.jsonl`.

mod completion;
mod error;
mod lines;
mod run;

pub use completion::{CompletionRecord, TokenRecord};
pub use error::RecordError;
pub use lines::{Lines, Place};
pub use run::{Description, Evaluation, Run, read_json};
