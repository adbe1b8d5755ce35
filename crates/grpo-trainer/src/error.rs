use std::io::ErrorKind;
use std::path::PathBuf;

use grpo_core::LogProbsError;
use grpo_qwen2::ModelError;
use grpo_reward::RewardError;
use grpo_rollout::RolloutError;

use crate::RunLogError;

/// Why training cannot start or go on. The policy is as it was after the last whole update.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// An option is outside its range.
    #[error("option `{option}` is {value}: {expected}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The value it was given.
        value: String,
        /// The range it must be in.
        expected: &'static str,
    },
    /// A step was given no problems.
    #[error("there is no problem to train or evaluate on: check the dataset and its filters")]
    NoProblems,
    /// No reward is asked for.
    #[error("the rubric has no reward: add one with `Rubric::with`")]
    NoRewards,
    /// The objective has a KL term, but the policy was loaded without a reference model.
    #[error(
        "beta is {beta}, but the policy has no reference model: load the policy with the trainer's own configuration"
    )]
    NoReference {
        /// Weight of the KL term.
        beta: f64,
    },
    /// Sampling failed.
    #[error("{}{cause}", at(problem))]
    Rollout {
        /// The id of the problem that it failed at, if it is about one.
        problem: Option<u64>,
        /// The reason; it counts prompts within the step.
        cause: RolloutError,
    },
    /// A reward failed.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// The log-probabilities do not belong together.
    #[error(transparent)]
    LogProbs(#[from] LogProbsError),
    /// The sampler and the trainer disagree on the log-probability of a token that was sampled: one of them is wrong,
    /// and training would follow a wrong gradient.
    #[error(
        "the sampler gave token {token} of completion {sample} of problem {problem} the log-probability {sampler}, \
         the trainer {trainer}: they differ by more than {tolerance}, so the first step was not taken; the decoder's \
         cache and the training pass must compute the same model"
    )]
    Mismatch {
        /// The problem's id.
        problem: u64,
        /// The completion's index in its group.
        sample: usize,
        /// The token's index in the completion.
        token: usize,
        /// Its log-probability when it was sampled.
        sampler: f32,
        /// Its log-probability under the training pass.
        trainer: f32,
        /// The largest difference that rounding explains.
        tolerance: f32,
    },
    /// The loss or the gradient was not a number for many steps in a row.
    #[error(
        "{skipped} steps in a row were skipped because the loss or the gradient was not finite: training has diverged; \
         begin a new run from the model of an earlier checkpoint with a lower learning rate"
    )]
    Diverged {
        /// Steps skipped in a row.
        skipped: usize,
    },
}

fn at(problem: &Option<u64>) -> String {
    problem.map_or(String::new(), |id| format!("problem {id}: "))
}

/// Why a checkpoint could not be written or taken up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder could not be read or written.
    #[error("{}: {cause}; make room, or see to its permissions", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// A checkpoint is not as it was written.
    #[error("{}: the checkpoint is damaged: {reason}; restore it, or take an earlier one", path.display())]
    Damaged {
        /// The checkpoint, or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no checkpoint that is as it was written.
    #[error(
        "{}: every checkpoint is damaged ({}); move the folder away to begin again from the start",
        path.display(), list(damaged)
    )]
    AllDamaged {
        /// The folder of checkpoints.
        path: PathBuf,
        /// What is wrong with each, newest first.
        damaged: Vec<CheckpointError>,
    },
    /// The configuration is not the one that the checkpoint was written under.
    #[error(
        "{}: the run was begun with another configuration ({}): take that, or begin a new run from its model",
        path.display(), differences.join("; ")
    )]
    Changed {
        /// The checkpoint.
        path: PathBuf,
        /// What differs, as `objective.beta: 0.04 -> 0.1`.
        differences: Vec<String>,
    },
    /// The policy could not be written or read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The run's record could not be written.
    #[error(transparent)]
    Log(#[from] RunLogError),
}

impl CheckpointError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |cause| match cause.kind() {
            ErrorKind::NotFound => Self::Damaged { path, reason: "it is not there".to_string() },
            _ => Self::Io { path, cause },
        }
    }
}

fn list(errors: &[CheckpointError]) -> String {
    errors.iter().map(CheckpointError::to_string).collect::<Vec<_>>().join("; ")
}
