//! The GSM8K task: its prompt and its rewards.

use grpo_qwen2::Message;
use grpo_reward::{Rubric, TagCount};
use grpo_trainer::{Problem, Qwen2Policy};

/// Tells the model the form of an answer.
pub const SYSTEM: &str =
    "Respond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>\n";

/// Correctness (2.0) and strict format (0.5), and up to 0.5 for each tag standing there once, so that a model that has never
/// seen the format has a slope to climb.
pub fn rubric() -> Rubric<String> {
    Rubric::gsm8k().with("tags", 1.0, TagCount::default())
}

/// Rows of a dataset, with their indices, as problems for the trainer.
pub fn problems<'a>(
    rows: impl Iterator<Item = (usize, &'a grpo_data::Problem)>,
    policy: &Qwen2Policy,
) -> anyhow::Result<Vec<Problem<String>>> {
    let problem = |(id, row): (usize, &grpo_data::Problem)| {
        let prompt = policy.prompt(&messages(&row.question))?;
        Ok(Problem { id: id as u64, prompt, truth: row.truth.clone() })
    };
    rows.map(problem).collect()
}

/// The conversation that asks a question.
pub fn messages(question: &str) -> [Message; 2] {
    [Message::new("system", SYSTEM), Message::new("user", question)]
}
