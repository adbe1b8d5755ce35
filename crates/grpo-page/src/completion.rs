//! A completion, as the record has it and as the page shows it.

use std::collections::BTreeMap;

use grpo_reward::LastNumber;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tokens::{TokenRecord, Tokens};

/// A completion in `completions.jsonl` and in `evaluation.json`.
#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) step: u64,
    pub(crate) problem: u64,
    pub(crate) sample: u64,
    pub(crate) question: String,
    pub(crate) truth: Value,
    pub(crate) prompt: String,
    completion: String,
    tokens: u64,
    finish: String,
    reward: Option<f64>,
    rewards: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    advantage: Option<f64>,
    #[serde(default)]
    token_record: Option<TokenRecord>,
}

/// What the page shows of it.
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
    pub(crate) fn new(record: &Record, rewards: &[String]) -> Self {
        let number = record.truth.as_str().and_then(LastNumber::of_truth);
        let lenient = number.map(|truth| LastNumber::of(&record.completion) == Some(truth));
        Self {
            text: record.completion.clone(),
            tokens: record.tokens,
            finish: record.finish.clone(),
            reward: record.reward,
            rewards: rewards.iter().map(|name| record.rewards.get(name).copied().flatten()).collect(),
            advantage: record.advantage,
            lenient,
            sampled: record.token_record.as_ref().and_then(|tokens| Tokens::of(tokens, &record.completion)),
        }
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.finish == "length"
    }
}
