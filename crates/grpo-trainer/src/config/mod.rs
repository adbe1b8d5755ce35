//! The trainer's configuration.

mod bound;
mod schedule;
mod validate;

use grpo_core::{Finish, Recipe};
use grpo_rollout::{Sample, Sampling};
use serde::{Deserialize, Serialize};

pub use schedule::Schedule;

/// The trainer's configuration; a policy has its own. If TRL's `GRPOConfig` has an option under another name, the field's
/// documentation gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerConfig {
    /// Completions per problem (TRL: `num_generations`); at least 2, or there is nothing to compare.
    pub group_size: usize,
    /// Maximum tokens per completion.
    pub max_completion_length: usize,
    /// How completions are drawn. The temperature must be above 0.
    pub sampling: Sampling,
    /// What the paper prescribes: the loss, the advantages, length penalties and masks.
    pub recipe: Recipe,
    /// With dynamic sampling, the reward that has to differ within a group, by name; by default the one of the largest weight, and of
    /// several the first. Partial rewards do not count: they differ in groups whose answers are all wrong, too.
    pub redraw_reward: Option<String>,
    /// Moves the reference towards the policy (TRL: `sync_ref_model`).
    pub reference_sync: Option<ReferenceSync>,
    /// How many steps the policy that samples may be behind the one that learns: 0, or 1 to sample the completions of the next step
    /// while this one is learned from ([`Trainer::learn_and_sample`](crate::Trainer::learn_and_sample)). The loss corrects for it like
    /// for a sampler in half precision, or in TRL's default way (`vllm_importance_sampling_correction`).
    pub lag: u64,
    /// Optimizer steps on each rollout, μ in the paper (TRL: `num_iterations`).
    pub updates: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The learning rate schedule after warm-up (TRL: `lr_scheduler_type`).
    pub schedule: Schedule,
    /// Warm-up steps of the learning rate.
    pub warmup_steps: u64,
    /// Maximum global gradient norm; larger gradients are clipped to it.
    #[serde(with = "bound")]
    pub max_grad_norm: f64,
    /// Maximum tokens per forward and backward pass. Bounds memory; affects results only through rounding.
    pub micro_batch_tokens: usize,
    /// Maximum completions decoded at once; when one ends, the next takes its row. Bounds memory. On the CPU it affects no result up
    /// to 128, and otherwise only through rounding.
    pub batch_rows: usize,
    /// Seed of all samples and of the order of problems.
    pub seed: u64,
}

/// The reference follows the policy (TR-DPO, arXiv 2404.09656).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceSync {
    /// Steps between moves (TRL: `ref_model_sync_steps`, which counts updates).
    #[serde(rename = "ref_model_sync_steps")]
    pub steps: u64,
    /// The weight of the policy in the new reference: `α · policy + (1 − α) · reference` (TRL: `ref_model_mixup_alpha`).
    #[serde(rename = "ref_model_mixup_alpha")]
    pub mixup_alpha: f64,
}

impl ReferenceSync {
    /// Whether the reference moves after this many steps.
    pub(crate) fn is_due(self, step: u64) -> bool {
        step.is_multiple_of(self.steps)
    }
}

impl Default for ReferenceSync {
    /// TRL's defaults: every 512 steps, α 0.6.
    fn default() -> Self {
        Self { steps: 512, mixup_alpha: 0.6 }
    }
}

impl Default for TrainerConfig {
    /// The classic recipe: groups of 8, temperature 1, ε 0.2, β 0.04, one update per rollout, a constant learning
    /// rate of 1e-6.
    fn default() -> Self {
        Self {
            group_size: 8,
            max_completion_length: 256,
            sampling: Sampling::default(),
            recipe: Recipe::grpo(),
            redraw_reward: None,
            reference_sync: None,
            lag: 0,
            updates: 1,
            learning_rate: 1e-6,
            schedule: Schedule::Constant,
            warmup_steps: 0,
            max_grad_norm: 1.0,
            micro_batch_tokens: 4096,
            batch_rows: 64,
            seed: 0,
        }
    }
}

impl TrainerConfig {
    /// Whether a completion is in the loss.
    pub(crate) fn trains_on(&self, sample: &Sample) -> bool {
        !(self.recipe.mask_truncated_completions && sample.finish == Finish::Length)
    }

    /// Whether the objective has a KL term.
    pub(crate) fn needs_reference(&self) -> bool {
        self.recipe.objective.needs_reference()
    }

    /// The learning rate of the step that follows `step` others.
    pub(crate) fn learning_rate_of(&self, step: u64) -> f64 {
        self.learning_rate * self.schedule.factor(step, self.warmup_steps)
    }
}
