//! The folder of an evaluation: what it answers, and every answer as soon as it is complete.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{Local, NaiveDateTime};
use grpo_core::Finish;
use grpo_files::{sha256_of, write_bytes};
use grpo_reward::Row;
use grpo_trainer::differences;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{EvaluationConfig, Results};
use crate::machine::Machine;
use crate::run::{Lock, RunFolder};
use crate::{Error, Question};

const DESCRIPTION: &str = "description.json";
const COMPLETIONS: &str = "completions.jsonl";
const RESULTS: &str = "results.json";
const FORMAT: u32 = 1;

/// A completion of an evaluation, with everything needed to understand it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The problem's index among those that are answered: in the split, unless examples are left out of it.
    pub problem: usize,
    /// The index among the problem's completions.
    pub sample: usize,
    /// The question.
    pub question: String,
    /// The right answer.
    pub truth: String,
    /// The full prompt, as the model sees it.
    pub prompt: String,
    /// The completion.
    pub completion: String,
    /// Number of sampled tokens, including the stop token.
    pub tokens: usize,
    /// How it ended.
    pub finish: Finish,
    /// The last number, in normal form.
    pub answer: Option<String>,
    /// Whether the reward of the largest weight pays for it; by default, if the text between the answer tags is the truth.
    pub strict: bool,
    /// Whether the last number is the truth.
    pub lenient: bool,
    /// Whether it has the prescribed format, line by line.
    pub format: bool,
}

/// What an evaluation answers, and which processes have worked on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    format: u32,
    pub(super) config: EvaluationConfig,
    /// SHA-256 of the questions and truths.
    questions: String,
    /// SHA-256 of the files of the model and the adapter.
    pub(super) files: BTreeMap<String, String>,
    /// The local time at which it started, which a chat template may write into prompts.
    pub(super) began: NaiveDateTime,
    /// Seconds of sampling, without those of processes that were killed.
    pub(super) seconds: f64,
    /// The machine of the latest process.
    pub(super) machine: Machine,
}

/// The folder, locked while this value exists.
pub(super) struct Record {
    path: PathBuf,
    /// Whether this process has created it.
    is_new: bool,
    _lock: Lock,
    completions: File,
    pub(super) description: Description,
}

impl Description {
    /// An error if it has another format.
    fn checked(self, path: &Path) -> Result<Self, Error> {
        if self.format == FORMAT {
            return Ok(self);
        }
        Err(Error::Format { path: path.join(DESCRIPTION), found: self.format.into(), expected: FORMAT })
    }

    /// The same evaluation, continued by this process.
    fn continued(
        self,
        path: &Path,
        config: &EvaluationConfig,
        questions: String,
        files: BTreeMap<String, String>,
        machine: Machine,
    ) -> Result<Self, Error> {
        let this = self.checked(path)?;
        let then = json!({ "config": this.config, "questions": this.questions, "files": this.files });
        let changed =
            differences(&then, &json!({ "config": config, "questions": questions, "files": files }));
        if !changed.is_empty() {
            return Err(Error::OtherEvaluation { path: path.to_owned(), differences: changed });
        }
        if let Some(differences) = this.machine.differences(&machine) {
            tracing::warn!("the evaluation continues with {differences}, so completions may differ");
        }
        Ok(Self { machine, ..this })
    }
}

impl Record {
    /// Starts an evaluation in `path`, or continues the same one there: the record, and the answers so far.
    pub(super) fn open(
        path: &Path,
        config: &EvaluationConfig,
        questions: &[Question<Row>],
        files: BTreeMap<String, String>,
        machine: Machine,
    ) -> Result<(Self, Vec<Answered>), Error> {
        let questions = sum_of(questions, config).map_err(|e| Error::io(path)(e.into()))?;
        let earlier: Option<Description> = read(path, DESCRIPTION)?;
        let is_taken = [COMPLETIONS, RESULTS].iter().any(|name| path.join(name).exists());
        // Before the lock, which creates the folder.
        if RunFolder::is_run(path) || (earlier.is_none() && is_taken) {
            return Err(Error::Taken { path: path.to_owned() });
        }
        let is_new = !path.exists();
        let lock = RunFolder::lock(path)?;
        let description = match earlier {
            Some(earlier) => earlier.continued(path, config, questions, files, machine)?,
            None => {
                let (config, began) = (config.clone(), Local::now().naive_local());
                Description { format: FORMAT, config, questions, files, began, seconds: 0.0, machine }
            }
        };
        let (answers, length) = read_completions(path)?;
        let file = path.join(COMPLETIONS);
        let open = || {
            let completions = OpenOptions::new().create(true).append(true).open(&file)?;
            // What follows is a line that a killed process did not finish.
            completions.set_len(length)?;
            Ok(completions)
        };
        let completions = open().map_err(Error::io(&file))?;
        let record = Self { path: path.to_owned(), is_new, _lock: lock, completions, description };
        record.describe()?;
        Ok((record, answers))
    }

    /// Adds an answer.
    pub(super) fn push(&mut self, answer: &Answered) -> Result<(), Error> {
        let file = self.path.join(COMPLETIONS);
        let line = serde_json::to_string(answer).map_err(|e| Error::io(&file)(e.into()))?;
        self.completions.write_all((line + "\n").as_bytes()).map_err(Error::io(&file))
    }

    /// Removes the files, after a start that failed.
    pub(super) fn discard(self) -> Result<(), Error> {
        for name in [DESCRIPTION, COMPLETIONS] {
            let file = self.path.join(name);
            fs::remove_file(&file).map_err(Error::io(&file))?;
        }
        if self.is_new {
            RunFolder::remove_empty(&self.path);
        }
        Ok(())
    }

    /// Adds to the time that was sampled for.
    pub(super) fn add_seconds(&mut self, seconds: f64) -> Result<(), Error> {
        self.description.seconds += seconds;
        self.describe()
    }

    pub(super) fn write_results(&self, results: &Results) -> Result<(), Error> {
        write(&self.path, RESULTS, results)
    }

    fn describe(&self) -> Result<(), Error> {
        write(&self.path, DESCRIPTION, &self.description)
    }
}

/// The results in a folder, and its completions.
pub(super) fn read_results(path: &Path) -> Result<(Results, Vec<Answered>), Error> {
    let Some(results) = read(path, RESULTS)? else {
        return Err(Error::NoResults { path: path.to_owned() });
    };
    Ok((results, read_completions(path)?.0))
}

/// An evaluation as its folder holds it, finished or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What it answers, and how.
    pub config: EvaluationConfig,
    /// SHA-256 of the files of the model and the adapter.
    pub files: BTreeMap<String, String>,
    /// The completions so far, in the order in which they ended.
    pub answers: Vec<Answered>,
}

impl Recorded {
    /// Reads the evaluation in a folder.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let Some(description) = read::<Description>(path, DESCRIPTION)? else {
            return Err(Error::NoEvaluation { path: path.to_owned() });
        };
        let Description { config, files, .. } = description.checked(path)?;
        Ok(Self { config, files, answers: read_completions(path)?.0 })
    }
}

/// The SHA-256 of the questions and truths; and of the other columns, which rewards other than the default may look at.
fn sum_of(questions: &[Question<Row>], config: &EvaluationConfig) -> serde_json::Result<String> {
    let reads_columns = config.rewards != EvaluationConfig::default().rewards;
    let asked = |Question { messages, truth }: &Question<Row>| {
        let columns = if reads_columns { truth.columns.clone() } else { Default::default() };
        Question { messages: messages.clone(), truth: Row { truth: truth.truth.clone(), columns } }
    };
    let asked: Vec<Question<Row>> = questions.iter().map(asked).collect();
    Ok(sha256_of(serde_json::to_string(&asked)?.as_bytes()))
}

/// Whether a folder holds an evaluation, finished or not.
pub fn is_evaluation(path: &Path) -> bool {
    path.join(DESCRIPTION).is_file()
}

/// All complete lines, and their length in bytes.
fn read_completions(path: &Path) -> Result<(Vec<Answered>, u64), Error> {
    let file = path.join(COMPLETIONS);
    if !file.exists() {
        return Ok((Vec::new(), 0));
    }
    let text = fs::read(&file).map_err(Error::io(&file))?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let answer = |(i, line): (usize, &[u8])| {
        serde_json::from_slice(line).map_err(|e| Error::Damaged {
            path: file.clone(),
            reason: format!("line {}: {e}", i + 1),
            advice: "remove the line to answer that problem again",
        })
    };
    Ok((lines.enumerate().map(answer).collect::<Result<_, _>>()?, whole as u64))
}

fn read<V: DeserializeOwned>(path: &Path, name: &str) -> Result<Option<V>, Error> {
    let file = path.join(name);
    if !file.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
    serde_json::from_str(&text).map(Some).map_err(|e| Error::Damaged {
        path: file,
        reason: e.to_string(),
        advice: "evaluate into another folder",
    })
}

pub(crate) fn write(path: &Path, name: &str, value: &impl Serialize) -> Result<(), Error> {
    let file = path.join(name);
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::io(&file)(e.into()))?;
    write_bytes(&file, text + "\n").map_err(Error::io(&file))
}
