//! What a run trains on, and what it is evaluated on.

use std::path::Path;

use grpo_data::{Example, Hub, Split, resolve_dataset};
use grpo_qwen2::Message;
use grpo_reward::Rubric;
use grpo_reward::audit::{Audit, AuditReport, Case};
use grpo_rollout::InvalidOption;
use serde::{Deserialize, Serialize};

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

impl Task<String> {
    /// The dataset of a configuration, from a file, a folder or the Hub. If the system prompt is
    /// [`gsm8k::SYSTEM`], the task has golds: right completions in the format that it asks for.
    pub fn load(config: &TaskConfig, hub: &Hub) -> Result<Self, Error> {
        let TaskConfig { dataset, columns, system_prompt, eval_problems, .. } = config;
        let train = resolve_dataset(dataset, Split::Train, columns, hub)?;
        let mut task = Self::of_examples(&train, system_prompt);
        if *eval_problems > 0 {
            if Path::new(dataset).is_file() {
                let expected =
                    "the dataset is a single file, with no held-out problems: use a folder with a test split";
                return Err(InvalidOption::new("eval_problems", eval_problems, expected).into());
            }
            let mut test = resolve_dataset(dataset, Split::Test, columns, hub)?;
            test.truncate(*eval_problems);
            task = task.with_test("test problems", questions(&test, system_prompt));
        }
        Ok(task)
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

/// Examples as questions after a system prompt.
pub fn questions(examples: &[Example], system_prompt: &str) -> Vec<Question<String>> {
    let question = |example: &Example| Question::new(system_prompt, &example.question, example.truth.clone());
    examples.iter().map(question).collect()
}
