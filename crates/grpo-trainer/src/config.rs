use grpo_core::{Advantage, Normalization, Objective};
use grpo_rollout::Sampling;

use crate::{OptimizerConfig, Schedule, TrainerError};

/// Every number of a run. Where TRL's `GRPOConfig` has the option under another name, the field says so.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainerConfig {
    /// Completions of a problem (TRL: `num_generations`); at least 2, or there is nothing to compare.
    pub group_size: usize,
    /// The most tokens of a completion.
    pub max_completion_length: usize,
    /// How completions are drawn. The temperature must be above 0.
    pub sampling: Sampling,
    /// From rewards to advantages.
    pub advantage: Advantage,
    /// The loss (TRL: `beta`, `epsilon`, `epsilon_high`, `delta`, `loss_type`, `importance_sampling_level`).
    pub objective: Objective,
    /// Optimizer steps on each rollout, μ in the paper (TRL: `num_iterations`).
    pub updates: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The learning rate's course after warm-up (TRL: `lr_scheduler_type`).
    pub schedule: Schedule,
    /// Steps over which the learning rate rises.
    pub warmup_steps: u64,
    /// Steps of the run: where the schedule ends.
    pub max_steps: u64,
    /// The largest norm of the gradient of all weights together; longer ones are scaled down.
    pub max_grad_norm: f64,
    /// The optimizer's own numbers.
    pub optimizer: OptimizerConfig,
    /// The most tokens of a forward and backward pass. Bounds memory, never changes the result.
    pub micro_batch_tokens: usize,
    /// Keeps only the input of every layer for the backward pass, and computes the rest a second time: takes less memory and
    /// more time. Never changes the result.
    pub gradient_checkpointing: bool,
    /// The most rows decoded at once. Bounds memory, never changes a sample.
    pub batch_rows: usize,
    /// Key of all randomness of the run.
    pub seed: u64,
}

impl Default for TrainerConfig {
    /// The classic recipe: groups of 8, temperature 1, ε 0.2, β 0.04, one update per rollout, AdamW at a constant
    /// 1e-6.
    fn default() -> Self {
        Self {
            group_size: 8,
            max_completion_length: 256,
            sampling: Sampling::default(),
            advantage: Advantage::default(),
            objective: Objective::grpo(),
            updates: 1,
            learning_rate: 1e-6,
            schedule: Schedule::Constant,
            warmup_steps: 0,
            max_steps: 300,
            max_grad_norm: 1.0,
            optimizer: OptimizerConfig::default(),
            micro_batch_tokens: 4096,
            gradient_checkpointing: false,
            batch_rows: 64,
            seed: 0,
        }
    }
}

impl TrainerConfig {
    /// Checks that every number is in its range.
    pub fn validate(&self) -> Result<(), TrainerError> {
        let error =
            |option, value: String, expected| Err(TrainerError::InvalidOption { option, value, expected });
        if self.group_size < 2 {
            let expected = "a group needs at least 2 completions to compare: with fewer every advantage is 0";
            return error("group_size", self.group_size.to_string(), expected);
        }
        for (option, value) in [
            ("max_completion_length", self.max_completion_length),
            ("updates", self.updates),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("batch_rows", self.batch_rows),
        ] {
            if value == 0 {
                return error(option, "0".into(), "it must be at least 1");
            }
        }
        self.sampling.validate().map_err(|source| TrainerError::Rollout { problem: None, source })?;
        if self.sampling.temperature == 0.0 {
            return error(
                "temperature",
                "0".into(),
                "training needs samples that differ: it must be above 0",
            );
        }
        let optimizer = &self.optimizer;
        for (option, value) in [
            ("learning_rate", self.learning_rate),
            ("beta", self.objective.beta),
            ("epsilon", self.objective.clip.low),
            ("epsilon_high", self.objective.clip.high),
            ("weight_decay", optimizer.weight_decay.into()),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return error(option, value.to_string(), "it must be 0 or a positive number");
            }
        }
        for (option, value) in
            [("max_grad_norm", self.max_grad_norm), ("adam_epsilon", optimizer.epsilon.into())]
        {
            if value.is_nan() || value <= 0.0 {
                return error(option, value.to_string(), "it must be above 0");
            }
        }
        if let Some(delta) = self.objective.delta.filter(|delta| delta.is_nan() || *delta <= 0.0) {
            return error("delta", delta.to_string(), "it must be above 0");
        }
        if self.objective.normalization == Normalization::MaxLength(0) {
            return error(
                "max_completion_length",
                "0".into(),
                "Dr. GRPO divides by it: it must be at least 1",
            );
        }
        for (option, value) in [("adam_beta1", optimizer.beta1), ("adam_beta2", optimizer.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return error(option, value.to_string(), "it must be at least 0 and below 1");
            }
        }
        Ok(())
    }
}
