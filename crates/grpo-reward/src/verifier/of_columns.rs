//! Verifiers whose truths are in columns of a row.

use grpo_core::{Asked, Completion, GroupReward, Reward};
use serde::de::DeserializeOwned;

use crate::version::verifier_version;
use crate::{Countdown, CountdownTruth, Instruction, Instructions, Row};

/// [`Countdown`] to the truth, with the numbers in a column.
#[derive(Debug)]
pub(super) struct CountdownOfRow {
    pub(super) verifier: Countdown,
    /// The column of the numbers.
    pub(super) numbers: String,
}

/// [`Instructions`] in a column.
#[derive(Debug)]
pub(super) struct InstructionsOfRow {
    pub(super) verifier: Instructions,
    pub(super) column: String,
}

impl GroupReward<Row> for CountdownOfRow {
    fn score_group(
        &self,
        asked: &Asked<'_, Row>,
        completions: &[Completion],
    ) -> Result<Vec<Option<f32>>, String> {
        let target = asked.truth.truth.trim();
        let target = target.parse().map_err(|_| format!("the truth {target:?} is no whole number"))?;
        let truth = CountdownTruth { numbers: column(asked.truth, &self.numbers, "whole numbers")?, target };
        Ok(completions.iter().map(|completion| Some(self.verifier.score(&truth, completion))).collect())
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

impl GroupReward<Row> for InstructionsOfRow {
    fn score_group(
        &self,
        asked: &Asked<'_, Row>,
        completions: &[Completion],
    ) -> Result<Vec<Option<f32>>, String> {
        let truth: Vec<Instruction> = column(asked.truth, &self.column, "instructions")?;
        Ok(completions.iter().map(|completion| Some(self.verifier.score(&truth, completion))).collect())
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

/// A column that is a list.
fn column<T: DeserializeOwned>(row: &Row, name: &str, of: &str) -> Result<Vec<T>, String> {
    let Some(value) = row.columns.get(name) else {
        let found: Vec<&str> = row.columns.keys().map(String::as_str).collect();
        return Err(format!("the row has no column `{name}`, only {}", found.join(", ")));
    };
    serde_json::from_value(value.clone()).map_err(|e| format!("the column `{name}` is no list of {of}: {e}"))
}
