//! The GSM8K task: its prompt and its rewards.

use grpo_qwen2::Message;
use grpo_reward::audit::{Audit, AuditReport, Case};
use grpo_reward::{Rubric, SettingError, TagCount};
use grpo_trainer::{Problem, Qwen2Policy};

/// Tells the model the form of an answer.
pub const SYSTEM: &str =
    "Respond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>\n";

/// The rewards of the task.
pub type GsmRubric = Rubric<String>;

/// Correctness (2.0) and strict format (0.5), and up to 0.5 for each tag standing there once, so that a model that has never
/// seen the format has a slope to climb.
pub fn rubric() -> GsmRubric {
    Rubric::gsm8k().with("tags", 1.0, TagCount::default())
}

/// What a right answer in the right form earns.
const MARKS: f32 = 3.0;

/// Tries a rubric on right answers to problems, and on known tricks.
pub fn audit(rubric: &GsmRubric, rows: &[grpo_data::Example]) -> Result<AuditReport, SettingError> {
    examine(&Audit { right: Some("correctness".to_string()), ..Audit::default() }, rubric, rows)
}

/// Refuses a rubric under which the right answer to one of the problems is not fully paid.
pub fn check_golds(rubric: &GsmRubric, rows: &[grpo_data::Example]) -> anyhow::Result<()> {
    examine(&Audit { tricks: Vec::new(), ..Audit::default() }, rubric, rows)?.into_result()?;
    Ok(())
}

fn examine(
    audit: &Audit,
    rubric: &GsmRubric,
    rows: &[grpo_data::Example],
) -> Result<AuditReport, SettingError> {
    let golds: Vec<String> = rows.iter().map(|row| right(&row.truth)).collect();
    let cases: Vec<Case<'_, String>> = rows
        .iter()
        .zip(&golds)
        .map(|(row, gold)| Case { truth: &row.truth, prompt: &row.question, gold, marks: MARKS })
        .collect();
    audit.run(rubric, &cases)
}

/// A right answer in the form that [`SYSTEM`] asks for.
fn right(truth: &str) -> String {
    format!("<reasoning>\nIt follows from the question.\n</reasoning>\n<answer>\n{truth}\n</answer>\n")
}

/// Rows of a dataset, with their indices, as problems for the trainer.
pub fn problems<'a>(
    rows: impl Iterator<Item = (usize, &'a grpo_data::Example)>,
    policy: &Qwen2Policy,
) -> anyhow::Result<Vec<Problem<String>>> {
    let problem = |(id, row): (usize, &grpo_data::Example)| {
        let prompt = policy.prompt(&messages(&row.question))?;
        Ok(Problem { id: id as u64, prompt, truth: row.truth.clone() })
    };
    rows.map(problem).collect()
}

/// The tokens of the longest question's prompt.
pub fn longest_prompt(rows: &[grpo_data::Example], policy: &Qwen2Policy) -> anyhow::Result<usize> {
    let longest = rows.iter().max_by_key(|row| row.question.len());
    Ok(longest
        .map(|row| policy.prompt(&messages(&row.question)))
        .transpose()?
        .map_or(0, |prompt| prompt.len()))
}

/// The conversation that asks a question.
pub fn messages(question: &str) -> [Message; 2] {
    [Message::new("system", SYSTEM), Message::new("user", question)]
}
