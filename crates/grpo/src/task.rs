//! What a run trains on, and what it is evaluated on.

use std::any::Any;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use grpo_data::{Columns, Example, Hub, LoadError, Split, Turn, resolve_dataset};
use grpo_files::sha256_of;
use grpo_qwen2::Message;
use grpo_reward::audit::{Audit, AuditReport, Case};
use grpo_reward::{Row, Rubric};
use grpo_rollout::InvalidOption;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::TaskConfig;
use crate::{Error, Truth, gsm8k};

/// A question and its truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question<T> {
    /// The conversation up to the answer.
    pub messages: Vec<Message>,
    /// What rewards compare with.
    pub truth: T,
}

/// Problems to train on, and others to evaluate on.
#[derive(Debug, Clone, PartialEq)]
pub struct Task<T> {
    /// Problems to train on.
    pub train: Vec<Question<T>>,
    /// Held-out problems, answered before and after training and never trained on.
    pub tests: Vec<Test<T>>,
    /// Right completions for the training problems; if there are any, the rewards are audited on them before the run starts.
    pub golds: Option<Golds>,
}

/// Held-out problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Test<T> {
    /// Their name.
    pub name: String,
    /// The problems.
    pub questions: Vec<Question<T>>,
}

/// Right completions.
#[derive(Debug, Clone, PartialEq)]
pub struct Golds {
    /// One per training question, in the same order.
    pub completions: Vec<String>,
    /// What each must earn; if none, each must only earn something for correctness.
    pub marks: Option<f32>,
    /// The name of the reward for correctness, if the rubric has it.
    pub right: Option<String>,
}

impl<T> Question<T> {
    /// A question after a system prompt, unless that is empty.
    pub fn new(system_prompt: &str, question: &str, truth: T) -> Self {
        let system = Some(system_prompt).filter(|prompt| !prompt.is_empty());
        let system = system.map(|prompt| Message::new("system", prompt));
        Self { messages: system.into_iter().chain([Message::new("user", question)]).collect(), truth }
    }

    /// The last message: what is displayed as the question.
    pub fn text(&self) -> &str {
        self.messages.last().map_or("", |message| &message.content)
    }
}

impl<T: Truth> Question<T> {
    /// What the record says of its truth: the columns of a [`Row`] are in the files that a run starts with.
    pub fn recorded_truth(&self) -> Value {
        let row: Option<&Row> = (&self.truth as &dyn Any).downcast_ref();
        row.map_or_else(|| json!(self.truth), |row| row.truth.clone().into())
    }
}

impl<T> Task<T> {
    /// Questions to train on, and none to evaluate on.
    pub fn new(train: Vec<Question<T>>) -> Self {
        Self { train, tests: Vec::new(), golds: None }
    }

    /// Adds held-out questions.
    #[must_use]
    pub fn with_test(mut self, name: impl Into<String>, questions: Vec<Question<T>>) -> Self {
        self.tests.push(Test { name: name.into(), questions });
        self
    }
}

impl<T: Truth> Task<T> {
    /// The task with the total that each gold must earn; if none, each must only earn something for correctness.
    #[must_use]
    pub fn with_marks(mut self, marks: Option<f32>) -> Self {
        if let Some(golds) = &mut self.golds {
            golds.marks = marks;
        }
        self
    }

    /// Audits `rubric` with the task's golds, which also name the part that pays for correctness.
    pub fn audit(&self, audit: &Audit, rubric: &Rubric<T>) -> Result<AuditReport, Error> {
        Ok(Audit { right: self.right(rubric), ..audit.clone() }.run(rubric, &self.cases()?)?)
    }

    /// The part of a rubric that pays for correctness.
    pub(crate) fn right(&self, rubric: &Rubric<T>) -> Option<String> {
        let right = self.golds.as_ref()?.right.clone()?;
        Some(right).filter(|right| rubric.names().any(|name| name == right))
    }

    /// The training questions with their golds.
    pub(crate) fn cases(&self) -> Result<Vec<Case<'_, T>>, Error> {
        let Some(golds) = &self.golds else { return Ok(Vec::new()) };
        let (questions, completions) = (self.train.len(), golds.completions.len());
        if questions != completions {
            let reason =
                format!("there are {completions} golds for {questions} questions: each question has one");
            return Err(Error::Contradiction(reason));
        }
        let marks = golds.marks.unwrap_or(f32::NEG_INFINITY);
        let mut cases = Vec::with_capacity(golds.completions.len());
        for (question, gold) in self.train.iter().zip(&golds.completions) {
            cases.push(Case { truth: &question.truth, prompt: question.text(), gold, marks });
        }
        Ok(cases)
    }
}

impl Task<Row> {
    /// The dataset of a configuration, from a file, a folder or the Hub. If the system prompt is
    /// [`gsm8k::SYSTEM`] and the rewards compare answers with truths, the task has golds: right completions in the format that it asks
    /// for.
    ///
    /// Held-out problems are the first of the test split. Where there is none, they are those of the training split whose hashes are
    /// lowest; rows with the same question are held out, too.
    pub fn load(config: &TaskConfig, hub: &Hub) -> Result<Self, Error> {
        let TaskConfig { dataset, columns, system_prompt, eval_problems, .. } = config;
        config.check_splits()?;
        let mut train = resolve_dataset(dataset, &config.split(&config.train_split), columns, hub)?;
        if *eval_problems == 0 {
            return Ok(config.task_of(&train));
        }
        let test = match &config.test_split {
            Some(split) => Some(resolve_dataset(dataset, &config.split(split), columns, hub)?),
            None => rows_if_any(dataset, &config.split("test"), columns, hub)?,
        };
        let (name, test) = match test {
            Some(mut test) => {
                test.truncate(*eval_problems);
                ("test problems", test)
            }
            None => ("held-out problems", hold_out(&mut train, *eval_problems)?),
        };
        Ok(config.task_of(&train).with_test(name, questions(&test, system_prompt)))
    }

    /// Examples after a system prompt.
    pub fn of_examples(train: &[Example], system_prompt: &str) -> Self {
        let golds = (system_prompt == gsm8k::SYSTEM).then(|| Golds {
            completions: train.iter().map(|example| gsm8k::gold(&example.truth)).collect(),
            marks: None,
            right: Some("correctness".to_string()),
        });
        Self { golds, ..Self::new(questions(train, system_prompt)) }
    }
}

impl TaskConfig {
    fn task_of(&self, train: &[Example]) -> Task<Row> {
        let mut task = Task::of_examples(train, &self.system_prompt);
        if self.rewards.iter().any(|reward| !reward.answer_is_truth()) {
            task.golds = None;
        }
        task
    }

    /// A single file has no splits.
    fn check_splits(&self) -> Result<(), InvalidOption> {
        if !Path::new(&self.dataset).is_file() {
            return Ok(());
        }
        let expected =
            "the dataset is a single file, which has no such parts: give a folder, or leave it out";
        let train_split = Some(&self.train_split).filter(|name| *name != "train");
        for (option, value) in [
            ("train_split", train_split),
            ("test_split", self.test_split.as_ref()),
            ("dataset_config", self.dataset_config.as_ref()),
            ("dataset_revision", self.dataset_revision.as_ref()),
        ] {
            if let Some(value) = value {
                return Err(InvalidOption::new(option, value, expected));
            }
        }
        Ok(())
    }

    /// A split of the dataset.
    pub fn split(&self, name: &str) -> Split {
        Split::new(name).of(self.dataset_config.clone(), self.dataset_revision.clone())
    }
}

/// The rows of a split; none if the dataset has no such split.
pub(crate) fn rows_if_any(
    dataset: &str,
    split: &Split,
    columns: &Columns,
    hub: &Hub,
) -> Result<Option<Vec<Example>>, Error> {
    if Path::new(dataset).is_file() {
        return Ok(None);
    }
    match resolve_dataset(dataset, split, columns, hub) {
        Err(grpo_data::Error::Load(LoadError::NoSplit { .. })) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// Removes `n` held-out rows from the others: those whose questions have the lowest hashes, so that they are the same in any order.
/// Further rows with the same questions are dropped.
pub(crate) fn hold_out(rows: &mut Vec<Example>, n: usize) -> Result<Vec<Example>, Error> {
    let hash = |row: &Example| {
        let said = row.history.iter().map(|turn| turn.content.as_str()).chain([row.question.as_str()]);
        sha256_of(json!(said.collect::<Vec<_>>()).to_string().as_bytes())
    };
    let hashes: Vec<String> = rows.iter().map(hash).collect();
    let distinct: BTreeSet<&String> = hashes.iter().collect();
    if distinct.len() <= n {
        let reason = format!(
            "eval_problems is {n}, but the dataset has only {} different questions: hold out fewer",
            distinct.len()
        );
        return Err(Error::Contradiction(reason));
    }
    let lowest: HashSet<&String> = distinct.into_iter().take(n).collect();
    let (mut missing, mut held_out, mut rest) = (lowest.clone(), Vec::with_capacity(n), Vec::new());
    for (row, hash) in rows.drain(..).zip(&hashes) {
        if !lowest.contains(hash) {
            rest.push(row);
        } else if missing.remove(hash) {
            held_out.push(row);
        }
    }
    *rows = rest;
    Ok(held_out)
}

/// An example as rewards see it.
pub(crate) fn row(example: &Example) -> Row {
    Row { truth: example.truth.clone(), columns: example.columns.clone() }
}

/// Examples as questions after a system prompt.
pub fn questions(examples: &[Example], system_prompt: &str) -> Vec<Question<Row>> {
    let question =
        |example: &Example| Question { messages: messages(example, system_prompt), truth: row(example) };
    examples.iter().map(question).collect()
}

/// The conversation up to the answer of an example. The system prompt, unless it is empty, takes the place of the example's own.
pub(crate) fn messages(example: &Example, system_prompt: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    if !system_prompt.is_empty() {
        messages.push(Message::new("system", system_prompt));
    }
    let is_replaced = |turn: &&Turn| turn.role == "system" && !system_prompt.is_empty();
    let history = example.history.iter().filter(|turn| !is_replaced(turn));
    messages.extend(history.map(|turn| Message::new(&turn.role, &turn.content)));
    messages.push(Message::new("user", &example.question));
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(questions: &[&str]) -> Vec<Example> {
        let row = |question: &&str| Example { question: (*question).to_string(), ..Example::default() };
        questions.iter().map(row).collect()
    }

    #[test]
    fn held_out_rows_are_the_same_in_any_order_and_never_trained_on() {
        let names = ["a", "b", "c", "d", "e", "a"];
        let mut all = rows(&names);
        let held_out = hold_out(&mut all, 3).unwrap();
        assert_eq!(held_out.len(), 3);
        assert!(held_out.iter().all(|row| !all.contains(row)) && all.len() >= 2);
        let mut reversed = rows(&names);
        reversed.reverse();
        let mut again = hold_out(&mut reversed, 3).unwrap();
        let by_question = |row: &Example| row.question.clone();
        let mut sorted = held_out.clone();
        sorted.sort_by_key(by_question);
        again.sort_by_key(by_question);
        assert_eq!(again, sorted);
        assert!(
            hold_out(&mut rows(&names), 5).unwrap_err().to_string().contains("only 5 different questions")
        );
    }

    #[test]
    fn a_system_prompt_takes_the_place_of_another() {
        let turn = |role: &str| Turn { role: role.into(), content: role.into() };
        let example = Example {
            history: vec![turn("system"), turn("user"), turn("assistant")],
            question: "q".into(),
            ..Example::default()
        };
        let shown = |prompt: &str| -> Vec<String> {
            messages(&example, prompt).into_iter().map(|message| message.content).collect()
        };
        assert_eq!(shown("mine"), ["mine", "user", "assistant", "q"]);
        assert_eq!(shown(""), ["system", "user", "assistant", "q"]);
    }
}
