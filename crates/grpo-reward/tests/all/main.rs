//! One binary for all integration tests of the crate.

use grpo_core::{Completion, Finish, Reward};

mod extract;
mod format;
mod numeric;
mod regressions;
mod rubric;

fn completion(text: &str) -> Completion {
    Completion { text: text.to_owned(), n_tokens: 1, finish: Finish::Stop }
}

fn score(reward: &impl Reward<str>, truth: &str, text: &str) -> f32 {
    reward.score(truth, &completion(text))
}
