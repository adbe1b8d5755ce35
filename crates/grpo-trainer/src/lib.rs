//! The GRPO trainer: sample, score, compare, update.
//!
//! A training step reads like the paper's algorithm:
//!
//! ```ignore
//! let experiences = trainer.roll_out(problems)?; // sample a group per problem, score it, compare within it
//! let report = trainer.learn(&experiences)?;     // raise what did better than its group
//! ```
//!
//! Both halves are public, so that a caller can look at, filter or log the experiences in between; [`Trainer::step`]
//! is the two in a row. What is trained is a [`Policy`]; [`Qwen2Policy`] is the one for Qwen2 models.
//!
//! A run is determined by its numbers, so it can be put down after any step ([`Trainer::save_checkpoint`]) and taken up again, to
//! the bit, by another process ([`Trainer::resume`]); [`Checkpoints`] finds the newest that is whole:
//!
//! ```no_run
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
//! ```
//!
//! The trainer is plain logic over plain numbers: the loss and its gradient by every log-probability come from
//! [`grpo_core::Objective`], and the policy's backward pass starts from that gradient.

mod checkpoints;
mod config;
mod error;
mod evaluation;
mod experience;
mod health;
mod learn;
mod memory;
mod metrics;
mod micro_batch;
mod optimizer;
mod order;
mod policy;
mod qwen2_policy;
mod resume;
mod roll_out;
mod run_log;
mod schedule;
mod trainer;
mod validate;

pub use checkpoints::{Checkpoint, Checkpoints, Latest, sha256};
pub use config::{ReferenceSync, TrainerConfig};
pub use error::{CheckpointError, TrainerError};
pub use evaluation::{Evaluation, EvaluationOptions, Proportion};
pub use experience::{Experience, Experiences, Group, Problem};
pub use health::Diagnosis;
pub use memory::MemoryPlan;
pub use metrics::{Metrics, Times};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use order::Order;
pub use policy::Policy;
pub use qwen2_policy::Qwen2Policy;
pub use resume::{Resumable, differences};
pub use run_log::{LogPosition, RunLog, RunLogError, completion_lines, metrics_line};
pub use schedule::Schedule;
pub use trainer::Trainer;
