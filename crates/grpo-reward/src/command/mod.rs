//! Rewards by a program in any language.

mod pool;
mod process;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grpo_core::{Asked, Completion, Finish, GroupReward};
use grpo_files::sha256;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::excerpt;
use crate::{Row, Rubric, SettingError};
use pool::Pool;

/// A program that scores completions: it reads a JSON object per line on standard input, and answers each with a line on standard
/// output: a number, `null` to abstain, or an object of several by name.
///
/// A request has the keys `prompt` (the question), `messages` (the conversation up to the answer, a list of `role` and `content`),
/// `completion`, `truth`, `columns` (an object), `tokens` and `ending` (`stop` or `length`). The requests of a problem's group come
/// together. A program that ends, takes too long, or prints anything else is an error, with the end of its standard error; one that has
/// ended between two groups is started again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Seconds that it may take for the completions of a problem.
    #[serde(default = "minute")]
    pub timeout: u64,
    /// Processes at once, at most.
    #[serde(default = "one")]
    pub processes: usize,
    /// The names of several rewards, each with its weight; if it is empty, answers are single numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rewards: BTreeMap<String, f32>,
}

/// The longest timeout.
const DAY: u64 = 86_400;

fn minute() -> u64 {
    60
}

fn one() -> usize {
    1
}

impl Command {
    /// Adds the program to a rubric: under its name, or as a part for each of its rewards, whose weights are multiplied by `weight`.
    ///
    /// # Errors
    ///
    /// If the program cannot be started, or a setting is out of range.
    pub fn add_to(&self, rubric: Rubric<Row>, name: &str, weight: f32) -> Result<Rubric<Row>, SettingError> {
        let invalid = |reason: String| SettingError::Command { command: self.command.join(" "), reason };
        if !(1..=DAY).contains(&self.timeout) || self.processes == 0 {
            let reason = format!("its timeout must be from 1 to {DAY} seconds, and its processes at least 1");
            return Err(invalid(reason));
        }
        let timeout = Duration::from_secs(self.timeout);
        let pool = Pool::start(&self.command, timeout, self.processes).map_err(invalid)?;
        let answers = Arc::new(Answers { pool, parts: self.rewards.len().max(1), unread: Mutex::default() });
        let version = self.version();
        if self.rewards.is_empty() {
            return Ok(rubric.with_group(name, weight, Part { answers, reward: None, version }));
        }
        let part = |rubric: Rubric<Row>, (reward, factor): (&String, &f32)| {
            let (answers, version) = (answers.clone(), version.clone());
            rubric.with_group(
                reward,
                weight * factor,
                Part { answers, reward: Some(reward.clone()), version },
            )
        };
        Ok(self.rewards.iter().fold(rubric, part))
    }

    /// The command line, and the sums of its files: a run that began with one version of a script is not resumed with another.
    fn version(&self) -> String {
        let with_sum = |argument: &String| match sha256(Path::new(argument)) {
            Ok((_, sum)) => format!("{argument} (SHA-256 {sum})"),
            Err(_) => argument.clone(),
        };
        self.command.iter().map(with_sum).collect::<Vec<_>>().join(" ")
    }
}

/// One of a program's rewards.
struct Part {
    answers: Arc<Answers>,
    /// Its name, if there are several.
    reward: Option<String>,
    version: String,
}

impl GroupReward<Row> for Part {
    fn score_group(
        &self,
        asked: &Asked<'_, Row>,
        completions: &[Completion],
    ) -> Result<Vec<Option<f32>>, String> {
        let answers = self.answers.of(&requests(asked, completions))?;
        let numbers = answers.iter().zip(completions).map(|(answer, completion)| {
            let number = number(answer, self.reward.as_deref());
            number.map_err(|reason| {
                format!(
                    "{}: {reason}, for the completion {}",
                    self.answers.pool.name(),
                    excerpt(&completion.text)
                )
            })
        });
        numbers.collect()
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn has_own_time_limit(&self) -> bool {
        true
    }
}

/// A line for each completion.
fn requests(asked: &Asked<'_, Row>, completions: &[Completion]) -> Vec<String> {
    let message = |message: &grpo_core::Message| json!({ "role": message.role, "content": message.content });
    let messages: Vec<Value> = asked.messages.iter().map(message).collect();
    let request = |completion: &Completion| {
        let ending = match completion.finish {
            Finish::Stop => "stop",
            Finish::Length => "length",
        };
        json!({
            "prompt": asked.question(),
            "messages": messages,
            "completion": completion.text,
            "truth": asked.truth.truth,
            "columns": asked.truth.columns,
            "tokens": completion.n_tokens,
            "ending": ending,
        })
    };
    completions.iter().map(|completion| request(completion).to_string()).collect()
}

/// The reward in an answer.
fn number(answer: &Value, reward: Option<&str>) -> Result<Option<f32>, String> {
    let found = match (reward, answer) {
        (None, found) => found,
        (Some(name), Value::Object(rewards)) => {
            rewards.get(name).ok_or_else(|| format!("its answer {answer} has no reward `{name}`"))?
        }
        (Some(_), Value::Null) => answer,
        (Some(_), _) => return Err(format!("its answer {answer} is no object of rewards by name")),
    };
    match found {
        Value::Null => Ok(None),
        Value::Number(number) => Ok(number.as_f64().map(|number| number as f32)),
        Value::Object(_) => Err(format!("its answer {answer} has several rewards: name them in `rewards`")),
        _ => Err(format!("its answer {found} is neither a number nor null")),
    }
}

/// The answers of a program. Each group is asked about once, although every part of the rubric wants its answers.
struct Answers {
    pool: Pool,
    parts: usize,
    /// By the requests.
    unread: Mutex<HashMap<Vec<String>, Unread>>,
}

/// Answers that some parts have not read.
struct Unread {
    /// How many.
    parts: usize,
    answers: Vec<Value>,
}

impl Answers {
    fn of(&self, requests: &[String]) -> Result<Vec<Value>, String> {
        if self.parts == 1 {
            return self.pool.ask(requests);
        }
        let unread = || self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        let found = unread().remove(requests);
        let found = match found {
            Some(found) => found,
            None => Unread { parts: self.parts, answers: self.pool.ask(requests)? },
        };
        if found.parts > 1 {
            let rest = Unread { parts: found.parts - 1, answers: found.answers.clone() };
            unread().insert(requests.to_vec(), rest);
        }
        Ok(found.answers)
    }
}
