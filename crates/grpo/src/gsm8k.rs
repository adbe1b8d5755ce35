//! The classic task: grade-school word problems whose answers are checked.

use grpo_data::Example;
use grpo_reward::{Rubric, TagCount};

/// Tells the model the format of an answer.
pub const SYSTEM: &str =
    "Respond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>\n";

/// What a right answer in the right format earns from [`rubric`].
pub const MARKS: f32 = 3.0;

/// Correctness (2.0) and strict format (0.5), and up to 0.5 in total for tags that occur exactly once, so that a model that
/// has never seen the format gets partial credit.
pub fn rubric<T: AsRef<str> + ?Sized>() -> Rubric<T> {
    Rubric::gsm8k().with("tags", 1.0, TagCount::default())
}

/// A right completion in the format that [`SYSTEM`] asks for.
pub fn gold(truth: &str) -> String {
    completion("It follows from the question.", truth)
}

fn completion(reasoning: &str, answer: &str) -> String {
    format!("<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>\n")
}

/// A problem's own solution in the format that [`SYSTEM`] asks for, without the calculator's notes (`<<48/2=24>>`) and the line
/// that states the result.
pub fn worked(example: &Example) -> String {
    let steps = example.solution.rsplit_once("####").map_or(example.solution.as_str(), |(steps, _)| steps);
    let mut parts = steps.split("<<");
    let first = parts.next().unwrap_or_default().to_string();
    let reasoning =
        parts.fold(first, |text, part| text + part.split_once(">>").map_or(part, |(_, rest)| rest));
    completion(reasoning.trim(), &example.truth)
}
