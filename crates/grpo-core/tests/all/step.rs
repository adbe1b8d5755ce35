//! A whole step: what a caller of the crate writes.

use grpo_core::{CompletionLoss, LogProbs, Objective};

/// A completion as plain numbers.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) current: Vec<f64>,
    pub(crate) old: Vec<f64>,
    pub(crate) reference: Option<Vec<f64>>,
    pub(crate) token_weights: Option<Vec<f64>>,
    pub(crate) advantages: Vec<f64>,
}

impl Row {
    pub(crate) fn term(&self, objective: &Objective) -> CompletionLoss {
        let mut logprobs = LogProbs::new(&self.current, &self.old).unwrap();
        if let Some(reference) = &self.reference {
            logprobs = logprobs.with_reference(reference).unwrap();
        }
        if let Some(token_weights) = &self.token_weights {
            logprobs = logprobs.with_token_weights(token_weights).unwrap();
        }
        objective.completion_loss(logprobs, &self.advantages).unwrap()
    }
}

/// The scaled loss of `rows`, and the scaled gradient of each row.
pub(crate) fn scaled(objective: &Objective, rows: &[Row], scales: &[f64]) -> (f64, Vec<Vec<f64>>) {
    let terms: Vec<CompletionLoss> = rows.iter().map(|row| row.term(objective)).collect();
    let loss = terms.iter().zip(scales).map(|(term, scale)| scale * term.loss).sum();
    let gradient = terms.iter().zip(scales).map(|(term, scale)| times(&term.gradient, *scale)).collect();
    (loss, gradient)
}

/// The loss of a step that consists of `rows`, and its gradient.
pub(crate) fn step(objective: &Objective, rows: &[Row]) -> (f64, Vec<Vec<f64>>) {
    scaled(objective, rows, &objective.scales(&lengths(rows)))
}

pub(crate) fn lengths(rows: &[Row]) -> Vec<usize> {
    rows.iter().map(|row| row.current.len()).collect()
}

fn times(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}
