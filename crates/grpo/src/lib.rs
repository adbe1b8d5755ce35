//! Turn an instruction-following LLM into a reasoning model by reinforcement learning with verifiable rewards, using Group
//! Relative Policy Optimization (GRPO).
//!
//! A run is a configuration, questions with truths, and rewards. It lives in a folder and survives the end of its process:
//!
//! ```no_run
//! use grpo::{Completion, Error, Event, Question, Rubric, Run, RunConfig, Task};
//!
//! fn main() -> Result<(), Error> {
//!     let config = RunConfig::from_toml("model = 'Qwen/Qwen2.5-0.5B-Instruct'\nlora.rank = 16\nsteps = 200")?;
//!     let task = Task::new((2..100).map(|n| Question::new("", &format!("What is {n} squared?"), n * n)).collect());
//!     let right = |truth: &i64, completion: &Completion| {
//!         if completion.text.trim_end_matches('.').ends_with(&truth.to_string()) { 1.0 } else { 0.0 }
//!     };
//!     let rubric = Rubric::new().with("right", 1.0, right);
//!     // Starts a new run, or resumes an existing one.
//!     let outcome = Run::open("runs/squares", config, task, rubric)?.train(|event| {
//!         if let Event::Step { metrics, .. } = event {
//!             println!("step {}: mean reward {:.2}", metrics.step, metrics.reward);
//!         }
//!     })?;
//!     println!("{} steps, model in {:?}", outcome.steps, outcome.model);
//!     Ok(())
//! }
//! ```
//!
//! # A step
//!
//! ```text
//! Problem      prompt, truth                       Problems: the order of a run
//!    │ sample a group of G completions             Trainer::roll_out; old log-probabilities are kept
//!    │ score each with every reward                Rubric
//!    │ advantage = (reward − mean) / (std + 1e-4)  Recipe::advantage, within the group
//!    ▼
//! Experience   completion, rewards, advantage      look at them, filter or log them here
//!    │ ratio × advantage − β · KL to the reference Trainer::learn: Recipe::objective
//!    │ gradient, clipped; one step of AdamW        `updates` times
//!    ▼
//! Metrics      under TRL's names, with diagnoses
//! ```
//!
//! The two halves are public, so a custom training loop takes a few lines:
//!
//! ```no_run
//! # fn main() -> Result<(), grpo::Error> {
//! use grpo::{DeviceKind, Hub, Problems, Qwen2Policy, RunConfig, Task, Trainer, gsm8k, resolve_model};
//!
//! let config = RunConfig::from_toml("model = 'Qwen/Qwen2.5-0.5B-Instruct'")?;
//! let hub = Hub::from_env()?;
//! let task = Task::load(&config.task, &hub)?;
//! let model = resolve_model(&config.task.model, &hub)?;
//! let policy = Qwen2Policy::load(&model, &DeviceKind::Auto.device()?, &config.policy)?
//!     .with_thinking(config.task.enable_thinking)?;
//! let mut trainer = Trainer::new(policy, gsm8k::rubric(), config.algorithm.clone())?;
//! let mut problems = Problems::new(&task, &config);
//! for _ in 0..100 {
//!     let (experiences, _times) = problems.roll_out(&trainer)?;
//!     let metrics = trainer.learn(&experiences)?;
//!     println!("step {}: mean reward {:.2}", metrics.step, metrics.reward);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where to find what
//!
//! | | |
//! |---|---|
//! | [`RunConfig`], [`Settings`] | every number, and where its value comes from |
//! | [`Task`], [`Question`] | training data; [`gsm8k`] is the classic |
//! | [`Reward`], [`Rubric`] | rewards: a closure, your own type, or the verifiers of `grpo-reward` |
//! | [`Run`], [`Prepared`], [`Event`], [`Replay`] | a run from start to finish |
//! | [`sft`] | a cold start: supervised fine-tuning on completions that were accepted |
//! | [`Trainer`], [`Policy`] | a step, and the policy in training; [`Policy`] documents a toy policy, a table of logits |
//! | [`Recipe`], [`Paper`] | what the papers prescribe |
//!
//! # Features
//!
//! `flex` (on by default) is the CPU backend. `metal`, `vulkan`, `webgpu` and `cuda` add GPUs for [`DeviceKind`]; before a run
//! uses one, it has to pass a self-test ([`device`]). `fusion` and `autotune` are burn's. The crate neither prints nor parses arguments; it logs anomalies in files with `tracing`.

mod config;
pub mod device;
mod error;
pub mod evaluation;
pub mod gsm8k;
mod machine;
mod plan;
mod run;
pub mod sft;
mod task;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use config::{
    ConfigError, Curriculum, ExecutionConfig, RewardConfig, RunConfig, Scorer, Settings, TaskConfig,
};
pub use device::{Device, DeviceError, DeviceKind};
pub use error::Error;
/// The crates that this one is made of, for everything else that is in them.
pub use {grpo_core, grpo_data, grpo_fleet, grpo_qwen2, grpo_reward, grpo_rollout, grpo_trainer};

pub use grpo_core::{
    Advantage, Asked, Completion, Finish, GroupReward, Message, Objective, Paper, Recipe, Reward,
};
pub use grpo_data::{Columns, Example, Hub, Split, resolve_dataset, resolve_model};
pub use grpo_fleet::{FleetConfig, ServerConfig, ServerReport};
pub use grpo_qwen2::{LoraConfig, LoraTarget};
pub use grpo_reward::{Row, Rubric};
pub use grpo_rollout::{InvalidOption, Sampling};
pub use grpo_trainer::{
    AdamWConfig, Alone, Collective, CompletionRecord, Diagnosis, Evaluation, EvaluationOptions, Experience,
    Experiences, Group, MemoryPlan, Metrics, MomentsDtype, Policy, Problem, ProblemText, Proportion,
    Qwen2Policy, Qwen2PolicyConfig, ReferenceSync, RolloutDtype, RolloutTimes, Schedule, Scored, Times,
    Trainer, TrainerConfig, TrainerError, peak_memory,
};
pub use machine::{Machine, Process};
pub use plan::Plan;
pub use run::{
    Best, Checks, Compared, Comparison, Evaluated, Event, Interrupt, Obstacle, Outcome, Phase, Preflight,
    Prepared, Problems, Replay, ReplayedStep, Rewarded, Run, RunFolder, follow, problems,
};
pub use task::{Golds, Question, Task, Test, questions};

/// What rewards compare with: any type that can be written to the run folder and read back.
pub trait Truth: Serialize + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static> Truth for T {}
