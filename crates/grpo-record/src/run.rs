//! A run, without its completions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{RecordError, lines};

/// A run, as its folder has it; its completions are read from [`folder`](Self::folder) by [`Lines`](crate::Lines).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Its folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The name of its folder.
    pub name: String,
    /// When it began.
    pub began: String,
    /// Its options by their keys, such as `algorithm.group_size`.
    pub options: BTreeMap<String, Value>,
    /// The names of its rewards, in the order of its configuration.
    pub rewards: Vec<String>,
    /// The processes that have worked on it, and their machines.
    pub processes: Vec<Value>,
    /// The steps that metrics are of.
    pub steps: Vec<u64>,
    /// A number per step for every metric and every time; none where a step has none.
    pub columns: BTreeMap<String, Vec<Option<f64>>>,
    /// What was found to go wrong, with its step.
    pub diagnoses: Vec<(u64, String)>,
    /// Results on held-out problems.
    pub evaluations: Vec<Evaluation>,
}

/// How many held-out problems earned a reward.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The name of the test.
    pub test: String,
    /// Steps taken before.
    pub step: u64,
    /// The name of the reward.
    pub reward: String,
    /// Problems that earned it …
    pub successes: u64,
    /// … of so many.
    pub trials: u64,
}

/// What `run.json` says of a run.
#[derive(Deserialize)]
pub struct Description {
    began: String,
    config: Value,
    rewards: Map<String, Value>,
    /// The processes that have worked on it.
    pub processes: Vec<Value>,
}

/// A test's results, in `before.json` and in each line of `evaluations.jsonl`.
#[derive(Deserialize)]
struct TestResult {
    test: String,
    step: u64,
    rewarded: Vec<Rewarded>,
}

#[derive(Deserialize)]
struct Rewarded {
    name: String,
    share: Share,
}

#[derive(Deserialize)]
struct Share {
    successes: u64,
    trials: u64,
}

/// An item of `evaluation.json`.
#[derive(Deserialize)]
struct Comparison {
    after: TestResult,
}

impl Description {
    /// Reads that of the run in a folder.
    pub fn read(folder: &Path) -> Result<Self, RecordError> {
        let missing = || RecordError::NoRun { path: folder.into() };
        read_json(&folder.join("run.json"))?.ok_or_else(missing)
    }

    /// The names of the rewards: those of the configuration first, in its order.
    pub fn rewards(&self) -> Vec<String> {
        let configured = self.config["task"]["rewards"].as_array().into_iter().flatten();
        let named = configured.filter_map(|reward| reward["name"].as_str());
        let first: Vec<&str> = named.filter(|name| self.rewards.contains_key(*name)).collect();
        let rest = self.rewards.keys().map(String::as_str).filter(|name| !first.contains(name));
        first.iter().copied().chain(rest).map(str::to_owned).collect()
    }
}

impl Run {
    /// Reads a run folder, whether the run has ended or not.
    pub fn read(folder: &Path) -> Result<Self, RecordError> {
        let description = Description::read(folder)?;
        let rewards = description.rewards();
        let Description { began, config, processes, .. } = description;
        let mut options = BTreeMap::new();
        flatten("", config, &mut options);
        let canonical = folder.canonicalize().map_err(RecordError::io(folder))?;
        let name = canonical.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let mut run = Self {
            folder: folder.into(),
            name,
            began,
            options,
            rewards,
            processes,
            steps: Vec::new(),
            columns: BTreeMap::new(),
            diagnoses: Vec::new(),
            evaluations: evaluations(folder)?,
        };
        let metrics: Vec<Map<String, Value>> = lines::all(&folder.join("metrics.jsonl"))?;
        run.steps = metrics.iter().filter_map(step).collect::<BTreeSet<_>>().into_iter().collect();
        let places: BTreeMap<u64, usize> = run.steps.iter().enumerate().map(|(i, step)| (*step, i)).collect();
        let times: Vec<Map<String, Value>> = lines::all(&folder.join("times.jsonl"))?;
        for line in metrics.into_iter().chain(times) {
            run.add(&places, line);
        }
        Ok(run)
    }

    /// Adds the numbers of a line to those of its step.
    fn add(&mut self, places: &BTreeMap<u64, usize>, line: Map<String, Value>) {
        let Some(step) = step(&line) else { return };
        let Some(&place) = places.get(&step) else { return };
        for (key, value) in line {
            match value {
                Value::Number(number) if key != "step" => {
                    let column = self.columns.entry(key).or_insert_with(|| vec![None; places.len()]);
                    column[place] = number.as_f64();
                }
                Value::Array(texts) if key == "diagnoses" => {
                    let texts = texts.iter().filter_map(Value::as_str);
                    self.diagnoses.extend(texts.map(|text| (step, text.to_owned())));
                }
                _ => {}
            }
        }
    }
}

fn step(line: &Map<String, Value>) -> Option<u64> {
    line.get("step")?.as_u64()
}

/// The options in nested tables, by dotted keys.
fn flatten(prefix: &str, value: Value, options: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&key, value, options);
            }
        }
        value => drop(options.insert(prefix.to_owned(), value)),
    }
}

/// Before, during and after training.
fn evaluations(folder: &Path) -> Result<Vec<Evaluation>, RecordError> {
    let before: Option<Vec<TestResult>> = read_json(&folder.join("before.json"))?;
    let during: Vec<Vec<TestResult>> = lines::all(&folder.join("evaluations.jsonl"))?;
    let after: Option<Vec<Comparison>> = read_json(&folder.join("evaluation.json"))?;
    let after = after.unwrap_or_default().into_iter().map(|comparison| comparison.after);
    let mut found: BTreeMap<(String, String, u64), Evaluation> = BTreeMap::new();
    // The last of a step is that of all problems.
    for TestResult { test, step, rewarded } in
        before.unwrap_or_default().into_iter().chain(during.into_iter().flatten()).chain(after)
    {
        for Rewarded { name, share: Share { successes, trials } } in rewarded {
            let evaluation = Evaluation { test: test.clone(), step, reward: name.clone(), successes, trials };
            found.insert((test.clone(), name, step), evaluation);
        }
    }
    Ok(found.into_values().collect())
}

/// A JSON file; none if there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RecordError::io(path)(error)),
    };
    let record =
        |cause: serde_json::Error| RecordError::Damaged { path: path.into(), line: cause.line(), cause };
    serde_json::from_slice(&text).map(Some).map_err(record)
}
