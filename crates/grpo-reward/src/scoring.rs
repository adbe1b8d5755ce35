//! Scores one completion with several rewards and catches their panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use grpo_core::{Completion, Reward};

/// What each reward gave for a completion, or the index of the one that failed, and how it failed.
pub(crate) type Scored = Result<Vec<f32>, (usize, Failure)>;

/// How a reward fails.
pub(crate) enum Failure {
    Panicked(String),
    TimedOut(Duration),
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
        // Safe to assert: all our state that the reward can reach is behind shared references.
        catch_unwind(AssertUnwindSafe(|| reward.score(truth, completion)))
            .map_err(|payload| (place, Failure::Panicked(panic_message(payload.as_ref()))))
    };
    rewards.iter().enumerate().map(score).collect()
}

/// The message of a panic.
fn panic_message(payload: &(dyn Any + Send)) -> String {
    let formatted = payload.downcast_ref::<String>().map(String::as_str);
    let literal = payload.downcast_ref::<&str>().copied();
    formatted.or(literal).unwrap_or("without a message").to_owned()
}
