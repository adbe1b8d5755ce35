//! Why training cannot start or continue.

use grpo_core::LogProbsError;
use grpo_reward::RewardError;
use grpo_rollout::{InvalidOption, RolloutError};

/// Why training cannot start or continue. The policy is as it was after the last complete update.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// An option is outside its range.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// A step was given no problems.
    #[error("there is no problem to train or evaluate on: check the dataset and its filters")]
    NoProblems,
    /// The rubric has no reward.
    #[error("the rubric has no reward: add one with `Rubric::with`")]
    NoRewards,
    /// Groups without a signal should be redrawn, but there are no other problems to draw.
    #[error(
        "max_redraws is {max_redraws}, but this step has no other problems to draw: call `Trainer::roll_out_dynamic`, or \
         set `max_redraws` to 0"
    )]
    NoOtherProblems {
        /// Maximum number of redraws.
        max_redraws: usize,
    },
    /// A part of the policy returned too few or too many values.
    #[error("{found} {what} where {expected} are expected: the policy's own code returned them")]
    Miscounted {
        /// What is counted.
        what: &'static str,
        /// The number returned.
        found: usize,
        /// The number expected.
        expected: usize,
    },
    /// Sampling failed.
    #[error("{}{cause}", at(problem))]
    Rollout {
        /// The id of the problem on which it failed, if any.
        problem: Option<u64>,
        /// The cause; its prompt numbers count within the step.
        cause: RolloutError,
    },
    /// A reward failed.
    #[error("problem {problem}: {cause}")]
    Reward {
        /// The id of the problem on which it failed.
        problem: u64,
        /// The reason.
        cause: RewardError,
    },
    /// The log-probabilities do not match each other.
    #[error(transparent)]
    LogProbs(#[from] LogProbsError),
    /// The sampler and the trainer disagree on the log-probability of a sampled token: one of them is wrong, and training
    /// would follow a wrong gradient.
    #[error(
        "for token {token} of completion {sample} of problem {problem}, the sampler computed the log-probability {sampler}, \
         the trainer {trainer}: they differ by more than {tolerance}, so the step was not taken; both must compute the same \
         model (for servers in half precision, set rollout_dtype)"
    )]
    Mismatch {
        /// The problem's id.
        problem: u64,
        /// The completion's index in its group.
        sample: usize,
        /// The token's index in the completion.
        token: usize,
        /// Its log-probability at sampling time.
        sampler: f32,
        /// Its log-probability in the training pass.
        trainer: f32,
        /// The largest difference that rounding explains.
        tolerance: f32,
    },
    /// The loss or the gradient was not finite for many steps in a row.
    #[error(
        "{skipped} steps in a row were skipped because the loss or the gradient was not finite: training has diverged; \
         start a new run from the model of an earlier checkpoint with a lower learning rate"
    )]
    Diverged {
        /// Steps skipped in a row.
        skipped: usize,
    },
    /// Processes that train together have come to different gradients.
    #[error(
        "process {rank} has computed the gradient norm {other}, and process 0 {first}, from the same sums: run the same build on \
         machines of one kind (the instruction sets of the processor decide how numbers are rounded)"
    )]
    Disagreement {
        /// The process that differs.
        rank: usize,
        /// The norm in process 0.
        first: f64,
        /// The norm in the other.
        other: f64,
    },
    /// Another of the processes that train together has failed.
    #[error("process {rank}: {reason}")]
    OtherProcess {
        /// Which one.
        rank: usize,
        /// Its error.
        reason: String,
    },
    /// Processes that train together do not understand each other.
    #[error("process {rank} has sent something that cannot be read: {reason}; run the same build everywhere")]
    NotUnderstood {
        /// The process that has sent it.
        rank: usize,
        /// What is wrong.
        reason: String,
    },
    /// Something cannot be sent to the other processes.
    #[error("the other processes cannot be told: {reason}")]
    NotSent {
        /// What is wrong.
        reason: String,
    },
    /// The loss or the gradient of supervised fine-tuning was not finite.
    #[error(
        "the loss or the gradient of update {update} is not finite: start again with a lower learning rate"
    )]
    NotFinite {
        /// The update, from 1; it has changed no weight.
        update: u64,
    },
}

impl TrainerError {
    /// The id of the problem on which a step failed, if any.
    pub fn problem(&self) -> Option<u64> {
        match self {
            Self::Rollout { problem, .. } => *problem,
            Self::Reward { problem, .. } => Some(*problem),
            _ => None,
        }
    }

    /// Checks that a part of the policy returned the expected number of values.
    pub(crate) fn check_count(what: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::Miscounted { what, found, expected }) }
    }
}

fn at(problem: &Option<u64>) -> String {
    problem.map_or(String::new(), |id| format!("problem {id}: "))
}
