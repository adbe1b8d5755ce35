//! A completion, as the record has it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// A line of `completions.jsonl`, or a completion in `evaluation.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CompletionRecord {
    /// The step in which it was sampled.
    pub step: u64,
    /// The problem's id.
    pub problem: u64,
    /// Its index in the group.
    pub sample: u64,
    /// The question.
    pub question: String,
    /// What rewards compare with.
    pub truth: Value,
    /// The full prompt.
    pub prompt: String,
    /// Its text.
    pub completion: String,
    /// Number of tokens.
    pub tokens: u64,
    /// How it ended: `stop` or `length`.
    pub finish: String,
    /// The weighted sum of the rewards.
    pub reward: Option<f64>,
    /// Each reward by its name.
    pub rewards: BTreeMap<String, Option<f64>>,
    /// Its advantage; none in an evaluation.
    pub advantage: Option<f64>,
    /// Its tokens, if they are recorded.
    pub token_record: Option<TokenRecord>,
}

/// The tokens of a completion: three lists of little-endian `u16` in base64.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenRecord {
    /// Bytes that each adds to the end of the text.
    pub lengths: String,
    /// Negated log-probabilities in 1/1024 nat.
    pub logprobs: String,
    /// Entropies in 1/1024 nat.
    pub entropies: String,
}

impl CompletionRecord {
    /// A reward by its name; none if it is missing or no number.
    pub fn reward_of(&self, name: &str) -> Option<f64> {
        self.rewards.get(name).copied().flatten()
    }
}
