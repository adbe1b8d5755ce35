//! One binary for all integration tests of the crate.

use grpo_core::{Completion, Finish, Reward};

mod audit;
mod choice;
#[cfg(unix)]
mod command;
mod countdown;
mod errors;
mod extract;
mod format;
mod group;
mod gsm8k_answers;
mod instructions;
mod json;
mod last_number;
mod layout;
mod length;
mod math;
mod math_answers;
mod math_bounds;
mod math_verify;
mod numeric;
mod pattern;
mod quantity;
mod regressions;
mod rubric;
mod statistics;
mod time_limit;
mod verifier;

fn completion(text: &str) -> Completion {
    Completion { text: text.to_owned(), n_tokens: 1, finish: Finish::Stop }
}

fn score(reward: &impl Reward<str>, truth: &str, text: &str) -> f32 {
    reward.score(truth, &completion(text))
}
