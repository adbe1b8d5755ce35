//! The GRPO trainer: sample, score, compare, update.
//!
//! A training step reads like the paper's algorithm:
//!
//! ```ignore
//! let (experiences, times) = trainer.roll_out(problems)?; // sample a group per problem, score it, compare within it
//! let metrics = trainer.learn(&experiences)?;             // raise what did better than its group
//! ```
//!
//! Both halves are public, so that a caller can look at, filter or log the experiences in between; [`Trainer::step`]
//! is the two in a row.
//!
//! What is trained is a [`Policy`]: any model, part by part. With the feature `qwen2`, which is on by default,
//! `Qwen2Policy` is the one for Qwen2 models.
//!
//! A run is determined by its numbers, so it can be stopped after any step ([`Trainer::save_checkpoint`]) and resumed, to
//! the bit, by another process ([`Trainer::resume`]); [`Checkpoints`] finds the newest that is whole:
//!
//! ```no_run
//! # #[cfg(feature = "qwen2")] mod example {
//! # use grpo_trainer::{CheckpointError, Checkpoints, Qwen2Policy, Trainer};
//! # fn example(mut trainer: Trainer<Qwen2Policy, String>) -> Result<(), CheckpointError> {
//! let checkpoints = Checkpoints::new("run/checkpoints", std::num::NonZeroUsize::new(2).expect("2 is not 0"));
//! if let Some(checkpoint) = checkpoints.latest(u64::MAX)?.checkpoint {
//!     (trainer, _) = trainer.resume(&checkpoint)?;
//! }
//! // … some steps …
//! trainer.save_checkpoint(&checkpoints, None)?;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! The trainer is plain logic over plain numbers: the loss and its gradient with respect to every log-probability come from
//! [`grpo_core::Objective`], and the model's backward pass starts from that gradient.
//!
//! | to add | see |
//! |---|---|
//! | an objective, an advantage, a paper | `grpo_core::{Objective, Advantage, Recipe}` |
//! | a family of models | [`Policy`], whose documentation brings one; the module `qwen2` |
//! | a place where completions are sampled | [`Rollouts`](grpo_rollout::Rollouts) |
//! | a metric | `metrics.rs`, from the experiences and from what `step/observed.rs` keeps of the updates |
//! | a diagnosis | [`Diagnosis`] |

mod adamw;
mod checkpoint;
mod collective;
mod completion_record;
mod config;
mod differences;
mod error;
mod evaluation;
mod health;
mod memory;
mod metrics;
mod order;
mod policy;
mod proportion;
#[cfg(feature = "qwen2")]
mod qwen2;
mod resume;
mod run_log;
mod sft;
mod step;
mod times;
mod token_record;
mod trainer;

pub use adamw::{AdamW, AdamWConfig, MomentsDtype};
pub use checkpoint::{Checkpoint, CheckpointError, Checkpoints, Latest};
pub use collective::{Alone, Collective};
pub use completion_record::{CompletionRecord, ProblemText};
pub use config::{ReferenceSync, Schedule, TrainerConfig};
pub use differences::differences;
pub use error::TrainerError;
pub use evaluation::{Answer, EVALUATION_STEP, Evaluation, EvaluationOptions};
pub use grpo_rollout::InvalidOption;
pub use health::Diagnosis;
pub use memory::peak_memory;
pub use metrics::Metrics;
pub use order::Order;
pub use policy::{BoxedRollouts, Model, Optimizer, Policy, Reference, Resumable, Text};
pub use proportion::{Proportion, Z};
#[cfg(feature = "qwen2")]
pub use qwen2::{
    MemoryPlan, Qwen2Policy, Qwen2PolicyConfig, Qwen2Reference, RolloutDtype, TrainedQwen2, Workload,
};
pub use run_log::{EVALUATIONS, LogPosition, RunLog, RunLogError, completion_lines, metrics_line};
pub use sft::{Demonstration, Sft, SftConfig, SftUpdate};
pub use step::{Experience, Experiences, Group, Problem, RolloutTokens, Scored};
pub use times::{RolloutTimes, Times};
pub use token_record::TokenRecord;
pub use trainer::Trainer;
