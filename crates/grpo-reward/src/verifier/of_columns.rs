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

impl CountdownOfRow {
    fn truth(&self, row: &Row) -> Result<CountdownTruth, String> {
        let target = row.truth.trim();
        let target = target.parse().map_err(|_| format!("the truth {target:?} is no whole number"))?;
        Ok(CountdownTruth { numbers: column(row, &self.numbers, "whole numbers")?, target })
    }
}

impl InstructionsOfRow {
    fn truth(&self, row: &Row) -> Result<Vec<Instruction>, String> {
        column(row, &self.column, "instructions")
    }
}

impl GroupReward<Row> for CountdownOfRow {
    fn score_group(
        &self,
        asked: &Asked<'_, Row>,
        completions: &[Completion],
    ) -> Result<Vec<Option<f32>>, String> {
        let truth = self.truth(asked.truth)?;
        Ok(completions.iter().map(|completion| Some(self.verifier.score(&truth, completion))).collect())
    }

    fn check(&self, row: &Row) -> Result<(), String> {
        self.truth(row).map(drop)
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
        let truth = self.truth(asked.truth)?;
        Ok(completions.iter().map(|completion| Some(self.verifier.score(&truth, completion))).collect())
    }

    fn check(&self, row: &Row) -> Result<(), String> {
        self.truth(row).map(drop)
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
