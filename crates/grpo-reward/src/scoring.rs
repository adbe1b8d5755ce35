//! Scores completions with rewards and catches their panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use grpo_core::{Asked, Completion, GroupReward, Reward};

/// What each reward gave for a completion, or the index of the one that failed, and how it failed.
pub(crate) type Scored = Result<Vec<f32>, (usize, Failure)>;

/// What a reward gave for each completion of a group, none where it abstains.
pub(crate) type GroupScored = Result<Vec<Option<f32>>, Failure>;

/// How a reward fails.
pub(crate) enum Failure {
    Panicked(String),
    TimedOut(Duration),
    /// It says so itself.
    Failed(String),
}

/// Scores with one reward after the other, up to the first that panics. `at` holds the index of the one at work.
pub(crate) fn score_one<T: ?Sized>(
    rewards: &[Arc<dyn Reward<T>>],
    truth: &T,
    completion: &Completion,
    at: &AtomicUsize,
) -> Scored {
    let score = |(place, reward): (usize, &Arc<dyn Reward<T>>)| {
        at.store(place, Ordering::Relaxed);
        unless_it_panics(|| reward.score(truth, completion)).map_err(|failure| (place, failure))
    };
    rewards.iter().enumerate().map(score).collect()
}

/// Scores a group.
pub(crate) fn score_together<T: ?Sized>(
    reward: &dyn GroupReward<T>,
    asked: &Asked<'_, T>,
    completions: &[Completion],
) -> GroupScored {
    let scored = unless_it_panics(|| reward.score_group(asked, completions))?.map_err(Failure::Failed)?;
    match scored.len() == completions.len() {
        true => Ok(scored),
        false => {
            let (found, expected) = (scored.len(), completions.len());
            Err(Failure::Failed(format!("it gave {found} rewards for {expected} completions")))
        }
    }
}

fn unless_it_panics<R>(score: impl FnOnce() -> R) -> Result<R, Failure> {
    // Safe to assert: all our state that the reward can reach is behind shared references.
    catch_unwind(AssertUnwindSafe(score))
        .map_err(|payload| Failure::Panicked(panic_message(payload.as_ref())))
}

/// The message of a panic.
fn panic_message(payload: &(dyn Any + Send)) -> String {
    let formatted = payload.downcast_ref::<String>().map(String::as_str);
    let literal = payload.downcast_ref::<&str>().copied();
    formatted.or(literal).unwrap_or("without a message").to_owned()
}
