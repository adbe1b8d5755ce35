use grpo_core::{Advantage, Aggregation, Finish, Objective, SamplerCorrection};
use grpo_qwen2::LoraConfig;
use grpo_rollout::Sampling;
use serde::Serialize;

use crate::{Experience, OptimizerConfig, Schedule};

/// Every number of a run. Where TRL's `GRPOConfig` has the option under another name, the field says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainerConfig {
    /// Completions of a problem (TRL: `num_generations`); at least 2, or there is nothing to compare.
    pub group_size: usize,
    /// The most tokens of a completion.
    pub max_completion_length: usize,
    /// How completions are drawn. The temperature must be above 0.
    pub sampling: Sampling,
    /// From the rewards of a completion to one (TRL: `multi_objective_aggregation`).
    pub aggregation: Aggregation,
    /// From rewards to advantages (TRL: `scale_rewards`).
    pub advantage: Advantage,
    /// The loss (TRL: `beta`, `epsilon`, `epsilon_high`, `delta`, `loss_type`, `importance_sampling_level`,
    /// `off_policy_mask_threshold`, `top_entropy_quantile`).
    pub objective: Objective,
    /// Samples with matrices in BF16, in evaluations too: reads half as much for every token, and holds a copy of the model in
    /// half its memory. The loss is corrected for what was rounded.
    pub narrow_rollouts: bool,
    /// How it is corrected (TRL: `vllm_importance_sampling_mode`, `…_clip_min`, `…_clip_max`).
    pub sampler_correction: SamplerCorrection,
    /// Leaves completions that were cut off out of the loss. They are still compared with their group.
    pub mask_truncated_completions: bool,
    /// How often [`Trainer::roll_out_dynamic`](crate::Trainer::roll_out_dynamic) draws again where a group has no signal.
    pub max_redraws: usize,
    /// Moves the reference after the policy (TRL: `sync_ref_model`).
    pub reference_sync: Option<ReferenceSync>,
    /// Trains low-rank adapters instead of the weights.
    pub lora: Option<LoraConfig>,
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

/// The reference follows the policy (TR-DPO, arXiv 2404.09656).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReferenceSync {
    /// Steps from one move to the next (TRL: `ref_model_sync_steps`, which counts updates).
    pub steps: u64,
    /// The share of the policy in the new reference: `α · policy + (1 − α) · reference` (TRL: `ref_model_mixup_alpha`).
    pub mixup_alpha: f64,
}

impl Default for ReferenceSync {
    /// TRL's: every 512 steps, α 0.6.
    fn default() -> Self {
        Self { steps: 512, mixup_alpha: 0.6 }
    }
}

impl Default for TrainerConfig {
    /// The classic recipe: groups of 8, temperature 1, ε 0.2, β 0.04, one update per rollout, AdamW at a constant
    /// 1e-6.
    fn default() -> Self {
        Self {
            group_size: 8,
            max_completion_length: 256,
            sampling: Sampling::default(),
            aggregation: Aggregation::default(),
            advantage: Advantage::default(),
            objective: Objective::grpo(),
            narrow_rollouts: false,
            sampler_correction: SamplerCorrection::default(),
            mask_truncated_completions: false,
            max_redraws: 0,
            reference_sync: None,
            lora: None,
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
    /// Whether a completion is in the loss.
    pub(crate) fn trains_on(&self, experience: &Experience) -> bool {
        !(self.mask_truncated_completions && experience.sample.finish == Finish::Length)
    }
}
