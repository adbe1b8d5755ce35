use grpo_reward::Rubric;

use crate::{Metrics, Policy, Problem, TrainerConfig, TrainerError};

/// Trains a policy on problems whose completions a rubric can score.
pub struct Trainer<P, T> {
    pub(crate) policy: P,
    pub(crate) rubric: Rubric<T>,
    pub(crate) config: TrainerConfig,
    /// Steps taken, skipped ones included.
    pub(crate) step: u64,
    /// Tokens of prompts and completions seen.
    pub(crate) num_tokens: u64,
    /// Steps skipped in a row.
    pub(crate) skipped: usize,
    /// Whether the sampler's log-probabilities have been found to be the trainer's.
    pub(crate) sampler_checked: bool,
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
        Ok(Self { policy, rubric, config, step: 0, num_tokens: 0, skipped: 0, sampler_checked: false })
    }

    /// One training step: roll out, then learn.
    pub fn step(&mut self, problems: &[Problem<T>]) -> Result<Metrics, TrainerError> {
        let experiences = self.roll_out(problems)?;
        self.learn(&experiences)
    }

    /// Steps taken, skipped ones included.
    pub fn steps(&self) -> u64 {
        self.step
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
