//! Checks before a run starts, so that a run that starts can finish.

use std::path::Path;
use std::time::{Duration, Instant};

use grpo_qwen2::{ChatTokenizer, Config, LoraConfig};
use grpo_reward::Rubric;
use grpo_reward::audit::{Audit, AuditError, Severity};
use serde_json::Value;

use crate::config::RunConfig;
use crate::{Error, Question, Task, Truth};

/// Number of problems on which tricks are tried.
const TRICKED: usize = 20;
/// Number of right completions tried between two clock checks.
const CHUNK: usize = 64;
/// Characters of a question shown in an error.
const HEAD: usize = 100;

/// Optional checks before a run starts. Prompts, adapters and the disk are always checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// Tries the rewards on right completions and on known tricks, if the task has right completions.
    pub audit: bool,
    /// Time limit for the audit; whatever has not been tried by then is skipped.
    pub time: Duration,
}

impl Default for Checks {
    fn default() -> Self {
        Self { audit: true, time: Duration::from_secs(30) }
    }
}

impl Checks {
    /// Returns an error for a rubric that does not pay for right completions, or pays for known tricks.
    pub(super) fn rewards<T: Truth>(&self, rubric: &Rubric<T>, task: &Task<T>) -> Result<(), Error> {
        let cases = task.cases()?;
        if !self.audit || cases.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let tricks = Audit { right: task.right(rubric), ..Audit::default() };
        let golds_alone = Audit { tricks: Vec::new(), ..tricks.clone() };
        let tricked = cases.len().min(TRICKED);
        // Tricks first, together with their golds: they are fewer and more informative.
        for (i, chunk) in std::iter::once(&cases[..tricked]).chain(cases[tricked..].chunks(CHUNK)).enumerate()
        {
            if start.elapsed() > self.time {
                tracing::warn!(
                    "the rewards were tried on only {} of {} right answers: {:?} have passed",
                    tricked + (i - 1) * CHUNK,
                    cases.len(),
                    self.time
                );
                break;
            }
            let report = if i == 0 { &tricks } else { &golds_alone }.run(rubric, chunk)?;
            if report.worst() >= Some(Severity::Error) {
                return Err(AuditError(report).into());
            }
        }
        Ok(())
    }
}

/// An error for the first row whose completions the rewards cannot score.
pub(super) fn truths<T: Truth>(rubric: &Rubric<T>, task: &Task<T>) -> Result<(), Error> {
    let sets = task.tests.iter().map(|test| (test.name.as_str(), &test.questions));
    let mut sets = std::iter::once(("training", &task.train)).chain(sets);
    sets.try_for_each(|(set, questions)| scorable(rubric, set, questions))
}

/// An error for the first of some rows whose completions the rewards cannot score.
pub(crate) fn scorable<T: Truth>(
    rubric: &Rubric<T>,
    set: &str,
    questions: &[Question<T>],
) -> Result<(), Error> {
    for (row, question) in questions.iter().enumerate() {
        rubric.check(&question.truth).map_err(|cause| Error::Unscorable {
            set: set.to_string(),
            row,
            cause: cause.into(),
            question: question.text().chars().take(HEAD).collect(),
        })?;
    }
    Ok(())
}

/// Uses the numbers of the adapter that a run continues from, or returns an error if `lora` contradicts them.
pub(super) fn adapter(config: &mut RunConfig, folder: &Path) -> Result<(), Error> {
    let found = LoraConfig::of_adapter(folder)?;
    let Some(asked) = &config.policy.lora else {
        config.policy.lora = Some(LoraConfig { seed: config.algorithm.seed, ..found });
        return Ok(());
    };
    let implied = config.implied().policy.lora.unwrap_or_default();
    let targets = |lora: &LoraConfig| lora.targets.iter().map(|t| t.name()).collect::<Vec<_>>().join(",");
    // What nobody has asked for contradicts nothing.
    for (name, asked, implied, found) in [
        ("lora.rank", asked.rank.to_string(), None, found.rank.to_string()),
        ("lora.alpha", asked.alpha.to_string(), Some(implied.alpha.to_string()), found.alpha.to_string()),
        ("lora.targets", targets(asked), Some(targets(&implied)), targets(&found)),
    ] {
        if asked != found && Some(&asked) != implied.as_ref() {
            return Err(Error::Contradiction(format!(
                "{name} is {asked}, but the adapter in {} has {found}: omit lora to use the adapter's numbers",
                folder.display()
            )));
        }
    }
    config.policy.lora = Some(LoraConfig { seed: asked.seed, ..found });
    Ok(())
}

/// Leaves out the configuration's rewards if a program has brought its own: they are not those of the run.
pub(super) fn own_rewards(config: &mut RunConfig, rewards: &Value) {
    let stated = config.task.rubric().map(|rubric| super::rewards(config, &rubric));
    if stated.ok().as_ref() != Some(rewards) {
        config.task.rewards = Vec::new();
    }
}

/// The task without the dropped rows; an error names the first row whose prompt is too long.
pub(super) fn prompts<T: Truth>(
    config: &RunConfig,
    model: &Path,
    mut task: Task<T>,
) -> Result<Task<T>, Error> {
    let text = ChatTokenizer::read(model)?.with_thinking(config.task.enable_thinking)?;
    let context = Config::read(&model.join("config.json"))?.max_position_embeddings;
    let completion = config.algorithm.max_completion_length;
    let longest = config.task.max_prompt_length.unwrap_or(usize::MAX);
    let lengths = |questions: &[Question<T>]| -> Result<Vec<usize>, Error> {
        questions.iter().map(|question| Ok(text.prompt(&question.messages)?.len())).collect()
    };
    let train = lengths(&task.train)?;
    let shortest = train.iter().copied().min().ok_or(Error::NoProblems)?;
    if shortest + completion > context {
        return Err(Error::CompletionTooLong { completion, context, prompt: shortest });
    }
    let check = |set: &str, questions: &[Question<T>], lengths: &[usize]| {
        let is_too_long = |tokens: usize| tokens <= longest && tokens + completion > context;
        let found = lengths.iter().enumerate().find(|(_, tokens)| is_too_long(**tokens));
        found.map_or(Ok(()), |(row, tokens)| {
            let question = questions[row].text().chars().take(HEAD).collect();
            Err(Error::PromptTooLong {
                set: set.to_string(),
                row,
                tokens: *tokens,
                completion,
                context,
                question,
            })
        })
    };
    check("training", &task.train, &train)?;
    let mut kept = train.iter().map(|tokens| *tokens <= longest);
    if let Some(golds) = &mut task.golds {
        let mut kept = kept.clone();
        golds.completions.retain(|_| kept.next().unwrap_or(true));
    }
    task.train.retain(|_| kept.next().unwrap_or(true));
    for test in &mut task.tests {
        let tokens = lengths(&test.questions)?;
        check(&test.name, &test.questions, &tokens)?;
        let mut kept = tokens.iter().map(|tokens| *tokens <= longest);
        test.questions.retain(|_| kept.next().unwrap_or(true));
    }
    task.tests.retain(|test| !test.questions.is_empty());
    let dropped = train.len() - task.train.len();
    if dropped > 0 {
        tracing::warn!(
            "{dropped} of {} training rows are dropped: their prompts are longer than max_prompt_length",
            train.len()
        );
    }
    if task.train.is_empty() { Err(Error::NoProblems) } else { Ok(task) }
}
