//! Why training cannot start or go on.

use grpo_core::LogProbsError;
use grpo_reward::RewardError;
use grpo_rollout::{InvalidOption, RolloutError};

/// Why training cannot start or go on. The policy is as it was after the last whole update.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainerError {
    /// An option is outside its range.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// A step was given no problems.
    #[error("there is no problem to train or evaluate on: check the dataset and its filters")]
    NoProblems,
    /// No reward is asked for.
    #[error("the rubric has no reward: add one with `Rubric::with`")]
    NoRewards,
    /// Groups without a signal are to be drawn again, but there are no other problems to draw.
    #[error(
        "max_redraws is {max_redraws}, but this step has no other problems to draw: call `Trainer::roll_out_dynamic`, or \
         set `max_redraws` to 0"
    )]
    NoOtherProblems {
        /// How often groups are to be drawn again.
        max_redraws: usize,
    },
    /// A part of the policy gave too little or too much.
    #[error("{found} {what} where there must be {expected}: the policy's own code gave them")]
    Miscounted {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
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

impl TrainerError {
    /// Checks that a part of the policy gave as much as it should.
    pub(crate) fn check_count(what: &'static str, found: usize, expected: usize) -> Result<(), Self> {
        if found == expected { Ok(()) } else { Err(Self::Miscounted { what, found, expected }) }
    }
}

fn at(problem: &Option<u64>) -> String {
    problem.map_or(String::new(), |id| format!("problem {id}: "))
}
