use std::path::Path;

use grpo_data::{Columns, Example, Hub, Split, Truth, resolve_dataset};
use grpo_qwen2::Message;
use grpo_reward::{Row, Rubric};
use grpo_rollout::{InvalidOption, Sampling};
use grpo_trainer::Order;
use serde::{Deserialize, Serialize};

use crate::task::{hold_out, messages, row, rows_if_any};
use crate::{Error, Question, RewardConfig, gsm8k};

/// What an evaluation answers, and how. Two evaluations can be compared if only the model, its adapter and `enable_thinking`
/// differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// The model: a folder in Hugging Face layout, or a Hub id.
    pub model: String,
    /// A folder with adapters in PEFT format.
    pub adapter: Option<String>,
    /// The problems: a Parquet, JSONL or CSV file, a folder of them, or a Hub id.
    pub dataset: String,
    /// The configuration of the dataset; the main one if none.
    #[serde(default)]
    pub dataset_config: Option<String>,
    /// The commit, branch or tag of a dataset on the Hub; the newest commit if none.
    #[serde(default)]
    pub dataset_revision: Option<String>,
    /// Its columns, and what becomes of them.
    #[serde(default)]
    pub columns: Columns,
    /// The split that is answered.
    pub split: String,
    /// The split that examples are drawn from.
    #[serde(default = "train")]
    pub train_split: String,
    /// Where the dataset has no such split, this many problems of the training split are answered: those that a run holds out.
    #[serde(default)]
    pub held_out: Option<usize>,
    /// Only the first problems of the split are answered; all without a limit.
    pub limit: Option<usize>,
    /// The system prompt before every question; none if empty.
    pub system_prompt: String,
    /// The value of the chat template's `enable_thinking`; the template decides if none.
    #[serde(default)]
    pub enable_thinking: Option<bool>,
    /// The rewards of a run: an answer is right if the one of the largest weight pays for it.
    #[serde(default = "RewardConfig::gsm8k")]
    pub rewards: Vec<RewardConfig>,
    /// Solved examples before every question, drawn from the training split by the seed; if that split is answered, they are left
    /// out of it.
    pub few_shot: usize,
    /// Completions per problem.
    pub samples: usize,
    /// How they are drawn.
    pub sampling: Sampling,
    /// The most tokens of a completion.
    pub max_completion_length: usize,
    /// Seed of the examples and of every sampled token.
    pub seed: u64,
}

fn train() -> String {
    "train".to_string()
}

impl Default for EvaluationConfig {
    /// One greedy completion of every test problem of GSM8K, of at most 256 tokens.
    fn default() -> Self {
        Self {
            model: String::new(),
            adapter: None,
            dataset: "openai/gsm8k".to_string(),
            dataset_config: None,
            dataset_revision: None,
            columns: Columns::default(),
            split: "test".to_string(),
            train_split: train(),
            held_out: None,
            limit: None,
            system_prompt: gsm8k::SYSTEM.to_string(),
            enable_thinking: None,
            rewards: RewardConfig::gsm8k(),
            few_shot: 0,
            samples: 1,
            sampling: Sampling::greedy(),
            max_completion_length: 256,
            seed: 0,
        }
    }
}

impl EvaluationConfig {
    /// Checks that every number is in its range.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        for (option, value) in [
            ("limit", self.limit.unwrap_or(1)),
            ("samples", self.samples),
            ("max_completion_length", self.max_completion_length),
        ] {
            if value == 0 {
                return Err(InvalidOption::new(option, 0, "it must be at least 1"));
            }
        }
        if self.samples > 1 && self.sampling.temperature == 0.0 {
            let expected = "greedy completions are all the same: set a temperature above 0, or samples = 1";
            return Err(InvalidOption::new("samples", self.samples, expected));
        }
        self.sampling.validate()
    }

    /// The rewards as a rubric.
    pub fn rubric(&self) -> Result<Rubric<Row>, Error> {
        Ok(RewardConfig::rubric(&self.rewards)?)
    }

    /// Whether the truth of a row is known to be a right answer.
    pub fn answer_is_truth(&self) -> bool {
        self.rewards.iter().all(RewardConfig::answer_is_truth)
    }

    /// The questions, from files or the Hub.
    pub fn questions(&self, hub: &Hub) -> Result<Vec<Question<Row>>, Error> {
        if self.few_shot > 0 && self.columns.truth != Truth::Hashes {
            let expected = "examples are worked solutions that end with `####` and the result: leave it at 0 for another truth";
            return Err(InvalidOption::new("few_shot", self.few_shot, expected).into());
        }
        let split =
            |name: &str| Split::new(name).of(self.dataset_config.clone(), self.dataset_revision.clone());
        let load = |name: &str| resolve_dataset(&self.dataset, &split(name), &self.columns, hub);
        let is_of_train =
            self.split == self.train_split || (Path::new(&self.dataset).is_file() && self.held_out.is_none());
        let mut others = Vec::new();
        let mut problems = match self.held_out {
            Some(n) => match rows_if_any(&self.dataset, &split(&self.split), &self.columns, hub)? {
                Some(problems) => problems,
                None => {
                    others = load(&self.train_split)?;
                    hold_out(&mut others, n)?
                }
            },
            None => load(&self.split)?,
        };
        if others.is_empty() && self.few_shot > 0 && !is_of_train {
            others = load(&self.train_split)?;
        }
        let examples = if is_of_train { &problems } else { &others };
        if examples.len() < self.few_shot {
            let reason = format!(
                "few_shot = {} is more than the {} problems that examples are drawn from",
                self.few_shot,
                examples.len()
            );
            return Err(Error::Contradiction(reason));
        }
        let chosen = Order::new(examples.len(), self.seed).batch(0, self.few_shot);
        let shots: Vec<Message> = chosen.iter().flat_map(|i| shot(&examples[*i])).collect();
        if is_of_train {
            // An example would be copied, not solved.
            let mut rows = 0..;
            problems.retain(|_| rows.next().is_some_and(|row| !chosen.contains(&row)));
            if problems.is_empty() {
                let expected = "it takes every problem of the split as an example: lower it";
                return Err(InvalidOption::new("few_shot", self.few_shot, expected).into());
            }
        }
        problems.truncate(self.limit.unwrap_or(usize::MAX));
        let question = |example: &Example| {
            let mut messages = messages(example, &self.system_prompt);
            let last = messages.len() - 1;
            messages.splice(last..last, shots.clone());
            Question { messages, truth: row(example) }
        };
        Ok(problems.iter().map(question).collect())
    }
}

/// A question and its solution in the format of [`gsm8k::SYSTEM`].
fn shot(example: &Example) -> [Message; 2] {
    [Message::new("user", &example.question), Message::new("assistant", gsm8k::worked(example))]
}
