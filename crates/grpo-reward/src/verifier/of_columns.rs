//! Verifiers whose truths are in columns of a row.

use std::fmt::Debug;

use grpo_core::{Asked, Completion, GroupReward, Reward};
use serde::de::DeserializeOwned;

use crate::version::verifier_version;
use crate::{Countdown, CountdownTruth, Instruction, Instructions, Row};

/// A verifier, and the column that it needs.
#[derive(Debug)]
pub(super) struct OfRow<V> {
    pub(super) verifier: V,
    pub(super) column: String,
}

/// A verifier whose truth is made of a row.
pub(super) trait RowVerifier: Reward<Self::Truth> + Debug {
    type Truth;

    /// The truth, with the column of this name.
    fn truth(row: &Row, column: &str) -> Result<Self::Truth, String>;
}

/// To the truth, with the numbers in a column.
impl RowVerifier for Countdown {
    type Truth = CountdownTruth;

    fn truth(row: &Row, column: &str) -> Result<CountdownTruth, String> {
        let target = row.truth.trim();
        let target = target.parse().map_err(|_| format!("the truth {target:?} is no whole number"))?;
        Ok(CountdownTruth { numbers: list(row, column, "whole numbers")?, target })
    }
}

impl RowVerifier for Instructions {
    type Truth = Vec<Instruction>;

    fn truth(row: &Row, column: &str) -> Result<Vec<Instruction>, String> {
        list(row, column, "instructions")
    }
}

impl<V: RowVerifier> GroupReward<Row> for OfRow<V> {
    fn score_group(
        &self,
        asked: &Asked<'_, Row>,
        completions: &[Completion],
    ) -> Result<Vec<Option<f32>>, String> {
        let truth = V::truth(asked.truth, &self.column)?;
        Ok(completions.iter().map(|completion| Some(self.verifier.score(&truth, completion))).collect())
    }

    fn check(&self, row: &Row) -> Result<(), String> {
        V::truth(row, &self.column).map(drop)
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

/// A column that is a list.
fn list<T: DeserializeOwned>(row: &Row, name: &str, of: &str) -> Result<Vec<T>, String> {
    let Some(value) = row.columns.get(name) else {
        let found: Vec<&str> = row.columns.keys().map(String::as_str).collect();
        return Err(format!("the row has no column `{name}`, only {}", found.join(", ")));
    };
    serde_json::from_value(value.clone()).map_err(|e| format!("the column `{name}` is no list of {of}: {e}"))
}
