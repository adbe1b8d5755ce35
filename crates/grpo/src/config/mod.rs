//! Every number of a run: the task, the algorithm, the policy and the execution.

mod defaults;
mod describe;
mod error;
mod keys;
mod rewards;
mod settings;

use std::num::NonZeroUsize;
use std::path::Path;

use grpo_data::Columns;
use grpo_fleet::FleetConfig;
use grpo_rollout::InvalidOption;
use grpo_trainer::{Qwen2PolicyConfig, RolloutDtype, TrainerConfig};
use serde::{Deserialize, Serialize};

use crate::device::DeviceKind;

pub use error::ConfigError;
pub use rewards::{RewardConfig, Scorer};
pub use settings::Settings;

/// Far more than fits in any memory.
const MAX_PROBLEMS: usize = 1 << 16;
/// What a checkpoint can be after.
const MAX_STEPS: u64 = 1 << 32;

/// All numbers of a run. Where they come from (defaults, a TOML file, `key=value`) is in [`Settings`].
///
/// [`task`](Self::task), [`algorithm`](Self::algorithm) and [`policy`](Self::policy) determine what a run computes, so they
/// are fixed when it starts. [`execution`](Self::execution) may change on every resume.
///
/// ```
/// use grpo::{ConfigError, RunConfig};
///
/// let config = RunConfig::from_toml("dataset = 'sums.jsonl'\nlearning_rate = 1e-5\nlora.rank = 8")?;
/// assert_eq!((config.algorithm.group_size, config.policy.lora.map(|lora| lora.alpha)), (8, Some(16.0)));
/// let error = RunConfig::from_toml("learning_rat = 1e-5").unwrap_err();
/// assert!(error.to_string().contains("did you mean `learning_rate`?"), "{error}");
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What to train, and on what.
    pub task: TaskConfig,
    /// How to train.
    pub algorithm: TrainerConfig,
    /// Which weights are trained, and how to sample.
    pub policy: Qwen2PolicyConfig,
    /// How a process executes the run.
    pub execution: ExecutionConfig,
}

/// What to train, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// The model: a folder in Hugging Face layout, or a Hub id.
    pub model: String,
    /// A folder with adapters in PEFT format to continue from, instead of new ones.
    pub adapter: Option<String>,
    /// The problems: a Parquet, JSONL or CSV file, a folder of them, or a Hub id.
    pub dataset: String,
    /// The configuration of the dataset (a subset, a language); the main one if none.
    #[serde(default)]
    pub dataset_config: Option<String>,
    /// The commit, branch or tag of a dataset on the Hub; the newest commit if none.
    #[serde(default)]
    pub dataset_revision: Option<String>,
    /// The split to train on.
    #[serde(default = "train")]
    pub train_split: String,
    /// The split of held-out problems; if none, `test`, or part of the training split where there is no `test`.
    #[serde(default)]
    pub test_split: Option<String>,
    /// Its columns, and what becomes of them.
    pub columns: Columns,
    /// The system prompt before every question, in the place of a conversation's own; none if empty.
    pub system_prompt: String,
    /// Whether the model reasons before it answers (Qwen3): the value of the chat template's `enable_thinking`, which decides if
    /// none.
    #[serde(default)]
    pub enable_thinking: Option<bool>,
    /// Rows whose prompt has more tokens than this are dropped.
    pub max_prompt_length: Option<usize>,
    /// Problems per step.
    pub problems_per_step: usize,
    /// Prefers problems by their pass rates; all problems come up equally often if none.
    #[serde(default)]
    pub curriculum: Option<Curriculum>,
    /// What completions are paid for; a program may bring a [`Rubric`](crate::Rubric) of its own instead.
    pub rewards: Vec<RewardConfig>,
    /// Number of held-out problems answered greedily before and after training, taken from the start of the test split, or by
    /// hash from the training split.
    pub eval_problems: usize,
}

/// Prefers problems that are neither too hard nor too easy for the policy: by the share of completions that earned more than 0 from the
/// reward that dynamic sampling looks at, when a problem was last sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curriculum {
    /// Problems with a lower pass rate are too hard.
    pub min_pass_rate: f64,
    /// Problems with a higher one are too easy.
    pub max_pass_rate: f64,
    /// The probability with which one of these is sampled when it comes up, so that none is forgotten.
    pub floor: f64,
}

impl Default for Curriculum {
    /// Leaves out what is always wrong or always right, four times of five.
    fn default() -> Self {
        Self { min_pass_rate: 0.01, max_pass_rate: 0.99, floor: 0.2 }
    }
}

impl Curriculum {
    fn validate(&self) -> Result<(), InvalidOption> {
        let Self { min_pass_rate, max_pass_rate, floor } = self;
        if !(0.0..=1.0).contains(min_pass_rate) || !(*min_pass_rate..=1.0).contains(max_pass_rate) {
            let expected = "pass rates are between 0 and 1, the minimum at most the maximum";
            let value = format!("{min_pass_rate} to {max_pass_rate}");
            return Err(InvalidOption::new("curriculum", value, expected));
        }
        match *floor > 0.0 && *floor <= 1.0 {
            true => Ok(()),
            false => Err(InvalidOption::new("floor", floor, "it must be above 0, and at most 1")),
        }
    }
}

/// How a process executes a run. It may change on every resume: no step depends on it, except for the rounding of another device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionConfig {
    /// The compute device.
    pub device: DeviceKind,
    /// Total training steps of the run.
    pub steps: u64,
    /// Steps between checkpoints; there is always one at the end.
    pub save_every: u64,
    /// Keeps only the newest `keep` checkpoints, and the best if held-out problems are answered during training.
    pub keep: NonZeroUsize,
    /// Steps between evaluations on held-out problems during training (TRL: `eval_steps`).
    pub eval_every: Option<u64>,
    /// Held-out problems answered in each of them: always the same, chosen by their hashes.
    pub eval_subset: usize,
    /// The reward whose share of paid completions decides which checkpoint is the best; the first if none.
    pub best_metric: Option<String>,
    /// Time limit in seconds for scoring one completion; beyond it, the run ends with an error (and can be resumed).
    pub reward_timeout: u64,
    /// Keeps only each layer's input for the backward pass and recomputes the rest: less memory, more time (TRL:
    /// `gradient_checkpointing`).
    pub activation_checkpointing: bool,
    /// Records every token of a completion with its log-probability and entropy, in 8 bytes a token.
    #[serde(default)] // earlier runs recorded none
    pub record_tokens: bool,
    /// Where completions are sampled, if not in this process.
    #[serde(default)]
    pub rollouts: FleetConfig,
}

fn train() -> String {
    "train".to_string()
}

impl RunConfig {
    /// The defaults, overridden by a TOML document.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Settings::from_toml(text)?.config()
    }

    /// The defaults, overridden by a TOML file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Settings::read(path.as_ref())?.config()
    }

    /// Checks that every number is in its range.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        let TaskConfig { model, problems_per_step, max_prompt_length, .. } = &self.task;
        if model.is_empty() {
            let expected = "a run needs one: a model folder or a Hub id";
            return Err(InvalidOption::new("model", "not set", expected));
        }
        if !(1..=MAX_PROBLEMS).contains(problems_per_step) {
            return Err(InvalidOption::new(
                "problems_per_step",
                problems_per_step,
                "it must be at least 1 and at most 65536",
            ));
        }
        let ExecutionConfig { steps, save_every, reward_timeout, keep, eval_every, eval_subset, .. } =
            &self.execution;
        if *steps > MAX_STEPS {
            return Err(InvalidOption::new("steps", steps, "it must be at most 4294967296"));
        }
        if keep.get() > MAX_PROBLEMS {
            return Err(InvalidOption::new("keep", keep, "it must be at most 65536"));
        }
        for (option, value) in [
            ("steps", *steps),
            ("save_every", *save_every),
            ("reward_timeout", *reward_timeout),
            ("eval_every", eval_every.unwrap_or(1)),
            ("eval_subset", *eval_subset as u64),
            ("max_prompt_length", max_prompt_length.map_or(1, |n| n as u64)),
        ] {
            if value == 0 {
                return Err(InvalidOption::new(option, 0, "it must be at least 1"));
            }
        }
        self.task.curriculum.as_ref().map_or(Ok(()), Curriculum::validate)?;
        self.algorithm.validate()?;
        self.policy.validate()?;
        self.local_policy().validate_local()
    }

    /// The policy of this process, which needs no copy for sampling if servers sample.
    pub(crate) fn local_policy(&self) -> Qwen2PolicyConfig {
        match self.execution.rollouts.servers.is_empty() {
            true => self.policy.clone(),
            false => Qwen2PolicyConfig { rollout_dtype: RolloutDtype::F32, ..self.policy.clone() },
        }
    }
}
