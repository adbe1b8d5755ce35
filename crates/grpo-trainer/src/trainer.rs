use grpo_reward::Rubric;
use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::{Metrics, Policy, Problem, TrainerConfig, TrainerError};

/// Trains a policy on problems whose completions a rubric can score.
pub struct Trainer<P, T> {
    pub(crate) policy: P,
    pub(crate) rubric: Rubric<T>,
    pub(crate) config: TrainerConfig,
    pub(crate) progress: Progress,
}

/// Where a run is, and what it remembers of earlier steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps taken, skipped ones included.
    pub(crate) step: u64,
    /// Tokens of prompts and completions seen.
    pub(crate) num_tokens: u64,
    /// Steps skipped in a row.
    pub(crate) skipped: usize,
    /// Whether the sampler's log-probabilities have been found to be the trainer's.
    pub(crate) sampler_checked: bool,
    pub(crate) health: Health,
}

impl<P: Policy, T> Trainer<P, T> {
    /// A trainer of `policy` that pays by `rubric`.
    pub fn new(policy: P, rubric: Rubric<T>, config: TrainerConfig) -> Result<Self, TrainerError> {
        config.validate()?;
        if rubric.is_empty() {
            return Err(TrainerError::NoRewards);
        }
        if config.objective.needs_reference() && !policy.has_reference() {
            return Err(TrainerError::NoReference { beta: config.objective.beta });
        }
        Ok(Self { policy, rubric, config, progress: Progress::default() })
    }

    /// One training step: roll out, then learn.
    pub fn step(&mut self, problems: &[Problem<T>]) -> Result<Metrics, TrainerError> {
        let experiences = self.roll_out(problems)?;
        self.learn(&experiences)
    }

    /// Steps taken, skipped ones included.
    pub fn steps(&self) -> u64 {
        self.progress.step
    }

    /// The policy as it is now.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// The numbers of the run.
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// The rewards.
    pub fn rubric(&self) -> &Rubric<T> {
        &self.rubric
    }
}
