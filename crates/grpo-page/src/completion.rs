//! A completion, as the page shows it.

use grpo_record::CompletionRecord;
use grpo_reward::LastNumber;
use serde::Serialize;

use crate::tokens::Tokens;

/// What the page shows of a completion.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Completion {
    text: String,
    tokens: u64,
    finish: String,
    reward: Option<f64>,
    /// In the order of the run's rewards.
    pub(crate) rewards: Vec<Option<f64>>,
    pub(crate) advantage: Option<f64>,
    /// Whether its last number is the truth; none if the truth is no number.
    pub(crate) lenient: Option<bool>,
    /// Its sampled tokens, if they are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampled: Option<Tokens>,
}

impl Completion {
    /// With the rewards of these names.
    pub(crate) fn new(record: &CompletionRecord, rewards: &[String]) -> Self {
        let number = record.truth.as_str().and_then(LastNumber::of_truth);
        let lenient = number.map(|truth| LastNumber::of(&record.completion) == Some(truth));
        Self {
            text: record.completion.clone(),
            tokens: record.tokens,
            finish: record.finish.clone(),
            reward: record.reward,
            rewards: rewards.iter().map(|name| record.reward_of(name)).collect(),
            advantage: record.advantage,
            lenient,
            sampled: record.token_record.as_ref().and_then(|tokens| Tokens::of(tokens, &record.completion)),
        }
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.finish == "length"
    }
}
