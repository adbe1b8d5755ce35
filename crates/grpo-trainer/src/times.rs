//! What a step takes: time and memory.

use std::time::Duration;

use serde::Serialize;

use crate::{RolloutTokens, peak_memory};

/// How long the parts of a rollout took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolloutTimes {
    /// Sampling.
    pub generate: Duration,
    /// The part of it that was done while the step before learned.
    pub ahead: Duration,
    /// Scoring completions.
    pub reward: Duration,
    /// The reference model's log-probabilities.
    pub reference: Duration,
}

impl std::ops::AddAssign for RolloutTimes {
    fn add_assign(&mut self, other: Self) {
        self.generate += other.generate;
        self.ahead += other.ahead;
        self.reward += other.reward;
        self.reference += other.reference;
    }
}

/// What a step took. It is kept apart from its metrics, which are the same whenever the run is repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// Seconds of the step: the sum of the others, but without the sampling that was done while the step before learned.
    pub step_time: f64,
    /// Seconds spent sampling.
    #[serde(rename = "time/generate")]
    pub time_generate: f64,
    /// Seconds spent scoring completions.
    #[serde(rename = "time/reward")]
    pub time_reward: f64,
    /// Seconds spent on the reference model's log-probabilities.
    #[serde(rename = "time/reference")]
    pub time_reference: f64,
    /// Seconds spent on the policy's passes and the optimizer, and until the samples of the next step were there if they were drawn
    /// meanwhile.
    #[serde(rename = "time/learn")]
    pub time_learn: f64,
    /// Sampled tokens per second of sampling; 0 if that took no time, or if another process has sampled them ahead.
    pub tokens_per_second: f64,
    /// Peak memory of the process so far, in bytes; none if the system does not report it.
    #[serde(rename = "memory/peak", skip_serializing_if = "Option::is_none")]
    pub memory_peak: Option<u64>,
    /// Bytes that the process has reserved on its device after the step; none on the CPU.
    #[serde(rename = "memory/device", skip_serializing_if = "Option::is_none")]
    pub memory_device: Option<u64>,
}

impl Times {
    /// Those of a step on the CPU whose rollout sampled `tokens`.
    pub fn new(rollout: RolloutTimes, tokens: RolloutTokens, learn: Duration) -> Self {
        let RolloutTimes { generate, ahead, reward, reference } = rollout;
        let [generate, ahead, reward, reference, learn] =
            [generate, ahead, reward, reference, learn].map(|time| time.as_secs_f64());
        Self {
            step_time: generate - ahead + reward + reference + learn,
            time_generate: generate,
            time_reward: reward,
            time_reference: reference,
            time_learn: learn,
            tokens_per_second: if generate > 0.0 { tokens.sampled as f64 / generate } else { 0.0 },
            memory_peak: peak_memory(),
            memory_device: None,
        }
    }
}
