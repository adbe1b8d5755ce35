//! The defaults, some of which depend on other settings.

use std::num::NonZeroUsize;

use grpo_core::Paper;
use grpo_data::Columns;
use grpo_fleet::FleetConfig;
use grpo_qwen2::LoraConfig;
use grpo_trainer::{Qwen2PolicyConfig, ReferenceSync, TrainerConfig};

use super::{Curriculum, ExecutionConfig, RewardConfig, RunConfig, TaskConfig};
use crate::device::DeviceKind;
use crate::gsm8k;

/// The settings that defaults depend on.
pub(super) struct Choices {
    pub(super) max_completion_length: usize,
    pub(super) seed: u64,
    /// The rank of new adapters, if any are trained.
    pub(super) lora: Option<usize>,
    /// Whether training continues existing adapters.
    pub(super) continues_adapter: bool,
    pub(super) moves_reference: bool,
    pub(super) has_curriculum: bool,
}

/// The learning rate of adapters: ten times that of all weights, because adapters start at zero and are small.
const LORA_RATE: f64 = 1e-5;

impl Default for Choices {
    fn default() -> Self {
        let TrainerConfig { max_completion_length, seed, .. } = TrainerConfig::default();
        Self {
            max_completion_length,
            seed,
            lora: None,
            continues_adapter: false,
            moves_reference: false,
            has_curriculum: false,
        }
    }
}

impl Choices {
    /// The configuration if nothing else is set.
    pub(super) fn defaults(&self) -> RunConfig {
        let base = TrainerConfig::default();
        let has_adapters = self.lora.is_some() || self.continues_adapter;
        let learning_rate = if has_adapters { LORA_RATE } else { base.learning_rate };
        RunConfig {
            task: TaskConfig {
                curriculum: self.has_curriculum.then(Curriculum::default),
                ..TaskConfig::default()
            },
            algorithm: TrainerConfig {
                max_completion_length: self.max_completion_length,
                recipe: Paper::default().recipe(self.max_completion_length),
                reference_sync: self.moves_reference.then(ReferenceSync::default),
                learning_rate,
                seed: self.seed,
                ..base
            },
            policy: Qwen2PolicyConfig {
                lora: self.lora.map(|rank| LoraConfig::of_rank(rank, self.seed)),
                ..Qwen2PolicyConfig::default()
            },
            execution: ExecutionConfig::default(),
        }
    }
}

impl RunConfig {
    /// The defaults of what follows from other choices, where those are this configuration's.
    pub(crate) fn implied(&self) -> Self {
        Choices {
            max_completion_length: self.algorithm.max_completion_length,
            seed: self.algorithm.seed,
            lora: self.policy.lora.as_ref().map(|lora| lora.rank),
            continues_adapter: self.task.adapter.is_some(),
            moves_reference: self.algorithm.reference_sync.is_some(),
            has_curriculum: self.task.curriculum.is_some(),
        }
        .defaults()
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Choices::default().defaults()
    }
}

impl Default for TaskConfig {
    /// GSM8K from the Hub; the model must be set.
    fn default() -> Self {
        Self {
            model: String::new(),
            adapter: None,
            dataset: "openai/gsm8k".to_string(),
            dataset_config: None,
            dataset_revision: None,
            train_split: "train".to_string(),
            test_split: None,
            columns: Columns::default(),
            system_prompt: gsm8k::SYSTEM.to_string(),
            enable_thinking: None,
            max_prompt_length: None,
            problems_per_step: 1,
            curriculum: None,
            rewards: RewardConfig::gsm8k(),
            eval_problems: 0,
        }
    }
}

impl Default for ExecutionConfig {
    fn default() -> Self {
        Self {
            device: DeviceKind::Auto,
            steps: 300,
            save_every: 50,
            keep: NonZeroUsize::new(2).expect("2 is not 0"),
            eval_every: None,
            eval_subset: 100,
            best_metric: None,
            reward_timeout: 60,
            activation_checkpointing: false,
            record_tokens: true,
            rollouts: FleetConfig::default(),
        }
    }
}
