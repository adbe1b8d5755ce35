//! The run folder: what the run started with, and everything it has produced since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use grpo_files::write_bytes;
use grpo_trainer::{Checkpoints, differences};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{remote, start};
use crate::config::{ExecutionConfig, RunConfig};
use crate::device::DeviceInfo;
use crate::{Error, Process, Task};

const DESCRIPTION: &str = "run.json";
const CONFIG: &str = "config.toml";
const README: &str = "README.md";
const START: &str = "start";
pub(super) const BEFORE: &str = "before.json";
pub(super) const EVALUATION: &str = "evaluation.json";
const LOCK: &str = "lock";
const FORMAT: u32 = 7;

/// The run folder. It is self-contained: a run needs neither the model's original folder nor the dataset.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    description: Description,
}

/// The description of a run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    /// The local start time, which a chat template may write into prompts.
    began: NaiveDateTime,
    config: RunConfig,
    /// The rewards: weight, gate and version of each.
    rewards: Value,
    /// The names of the tests.
    tests: Vec<String>,
    /// Skipped problems.
    skipped: Vec<Skipped>,
    /// SHA-256 of every file that it started with.
    start: BTreeMap<String, String>,
    /// The processes that have worked on it.
    processes: Vec<Process>,
}

impl Description {
    fn read(path: &Path) -> Result<Self, Error> {
        RunFolder::check_run(path)?;
        let file = path.join(DESCRIPTION);
        let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
        let damaged = |e: serde_json::Error| Error::Damaged {
            path: file.clone(),
            reason: e.to_string(),
            advice: "restore it",
        };
        let value: Value = serde_json::from_str(&text).map_err(damaged)?;
        if let Some(found) = value["format"].as_u64().filter(|format| *format != u64::from(FORMAT)) {
            return Err(Error::Format { path: file, found, expected: FORMAT });
        }
        serde_json::from_value(value).map_err(damaged)
    }
}

/// A skipped problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Skipped {
    /// Its id.
    pub(super) problem: u64,
    /// Steps taken before: later steps skip the problem.
    pub(super) after_step: u64,
}

/// Held while a process works in a run folder; released when the process ends for any reason.
pub(crate) struct Lock(#[allow(dead_code)] File); // keeps the file open

impl RunFolder {
    /// A new run in `path`, which may hold remains of a run that never reached its first step.
    pub(super) fn create<T: Serialize>(
        path: &Path,
        began: NaiveDateTime,
        config: &RunConfig,
        rewards: Value,
        task: &Task<T>,
        model: &Path,
        device: Option<DeviceInfo>,
    ) -> Result<Self, Error> {
        // First the file that marks a run, and the evaluation of its model.
        for file in [DESCRIPTION, BEFORE].map(|name| path.join(name)).iter().filter(|file| file.exists()) {
            fs::remove_file(file).map_err(Error::io(file))?;
        }
        remote::remove_journal(path)?;
        let start = path.join(START);
        start::replace(&start, model, config.task.adapter.as_deref().map(Path::new), task)?;
        let run = Self {
            path: path.into(),
            description: Description {
                format: FORMAT,
                began,
                config: config.clone(),
                rewards,
                tests: task.tests.iter().map(|test| test.name.clone()).collect(),
                skipped: Vec::new(),
                start: start::sums(&start)?,
                processes: vec![Process::this(0, &config.execution, device)],
            },
        };
        run.write_text(README, include_str!("folder.md"))?;
        run.write_text(CONFIG, &config.to_toml())?;
        run.write_json(DESCRIPTION, &run.description)?;
        Ok(run)
    }

    /// The configuration of the run in `path`.
    pub fn read_config(path: &Path) -> Result<RunConfig, Error> {
        Ok(Description::read(path)?.config)
    }

    /// The run in `path`, if everything that it started with is unchanged.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let description = Description::read(path)?;
        let start = path.join(START);
        let mut found = start::sums(&start)?;
        // What a file manager leaves behind is no part of it.
        found.retain(|name, _| description.start.contains_key(name));
        let changed = differences(&json!(description.start), &json!(found));
        if !changed.is_empty() {
            return Err(Error::StartChanged { path: start, differences: changed });
        }
        Ok(Self { path: path.into(), description })
    }

    /// Whether a run was started in `path`.
    pub fn is_run(path: &Path) -> bool {
        path.join(DESCRIPTION).is_file()
    }

    /// Returns an error if a new run would overwrite something in the folder.
    pub fn check_free(path: &Path) -> Result<(), Error> {
        if path.exists() && !path.is_dir() {
            return Err(Error::NotAFolder { path: path.to_owned() });
        }
        let is_there = |name: &&str| path.join(name).exists();
        let has_steps = ["metrics.jsonl", "completions.jsonl"]
            .iter()
            .any(|name| fs::metadata(path.join(name)).is_ok_and(|record| record.len() > 0));
        let has_result = ["checkpoints", "model", "adapter", EVALUATION].iter().any(is_there);
        // These files are a run's own only next to the problems that it started with.
        let is_begun = path.join(START).join(start::PROBLEMS).exists();
        let of_others = [START, DESCRIPTION, CONFIG, README, BEFORE].iter().any(is_there);
        if has_steps || has_result || (of_others && !is_begun) {
            return Err(Error::Taken { path: path.to_owned() });
        }
        Ok(())
    }

    /// Returns an error for a folder in which no run was started.
    pub(super) fn check_run(path: &Path) -> Result<(), Error> {
        if path.is_file() {
            return Err(Error::NotAFolder { path: path.to_owned() });
        }
        if Self::is_run(path) { Ok(()) } else { Err(Error::NoRun { path: path.to_owned() }) }
    }

    /// Keeps other processes from working in `path`, which is created if needed.
    pub(crate) fn lock(path: &Path) -> Result<Lock, Error> {
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let file = path.join(LOCK);
        let file = File::create(&file).map_err(Error::io(&file))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(Error::Io { path: path.join(LOCK), cause }),
        }
    }

    /// Removes a folder if there is nothing in it but the lock, which this process holds.
    pub(crate) fn remove_empty(path: &Path) {
        // A folder with files in it is not removed, and what cannot be removed does no harm.
        let _ = fs::remove_file(path.join(LOCK)).and_then(|()| fs::remove_dir(path));
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration that the run started with.
    pub fn config(&self) -> &RunConfig {
        &self.description.config
    }

    /// The processes that have worked on the run.
    pub fn processes(&self) -> &[Process] {
        &self.description.processes
    }

    /// How a step was executed.
    pub(super) fn execution(&self, step: u64) -> &ExecutionConfig {
        self.process(step).map_or(&self.config().execution, |process| &process.execution)
    }

    /// The process that took a step.
    pub(super) fn process(&self, step: u64) -> Option<&Process> {
        self.processes().iter().rfind(|process| process.after_step < step)
    }

    /// Records that the latest process has company.
    pub(super) fn set_processes(&mut self, n: usize) -> Result<(), Error> {
        let [.., last] = &mut self.description.processes[..] else { return Ok(()) };
        last.processes = n;
        self.write_json(DESCRIPTION, &self.description)
    }

    /// The device of the latest process; none for the CPU.
    pub(super) fn device(&self) -> Option<&DeviceInfo> {
        self.processes().last()?.machine.device.as_ref()
    }

    /// The local time at which the run started.
    pub(super) fn began(&self) -> NaiveDateTime {
        self.description.began
    }

    pub(super) fn skipped(&self) -> &[Skipped] {
        &self.description.skipped
    }

    /// Records that this process continues the run, how, and which problems it skips.
    pub(super) fn continue_run(
        &mut self,
        after_step: u64,
        config: &RunConfig,
        skip: &[u64],
        device: Option<DeviceInfo>,
    ) -> Result<(), Error> {
        let Description { config: of_run, processes, skipped, .. } = &mut self.description;
        let process = Process::this(after_step, &config.execution, device);
        if let Some(differences) =
            processes.last().and_then(|last| last.machine.differences(&process.machine))
        {
            tracing::warn!("the run continues with {differences}, so its steps may round differently");
        }
        of_run.execution = config.execution.clone();
        processes.push(process);
        for problem in skip {
            if !skipped.iter().any(|other| other.problem == *problem) {
                skipped.push(Skipped { problem: *problem, after_step });
            }
        }
        self.write_json(DESCRIPTION, &self.description)
    }

    /// Returns an error if one of the problems to skip does not exist, or if none of the `n` problems would be left.
    pub(super) fn check_skip(&self, skip: &[u64], n: usize) -> Result<(), Error> {
        if let Some(unknown) = skip.iter().find(|problem| **problem >= n as u64) {
            let reason = format!("there is no problem {unknown} to skip: this run has {n}, counted from 0");
            return Err(Error::Contradiction(reason));
        }
        let all: BTreeSet<u64> =
            skip.iter().copied().chain(self.skipped().iter().map(|s| s.problem)).collect();
        if all.len() < n { Ok(()) } else { Err(Error::NoProblems) }
    }

    /// An error that names every difference in configuration and rewards since the run started.
    pub(super) fn check(&self, config: &RunConfig, rewards: &Value) -> Result<(), Error> {
        let fixed = |config: &RunConfig, rewards: &Value| {
            let RunConfig { task, algorithm, policy, execution: _ } = config;
            json!({ "task": task, "algorithm": algorithm, "policy": policy, "rewards": rewards })
        };
        let Description { config: of_run, rewards: rewards_of_run, .. } = &self.description;
        self.refuse(differences(&fixed(of_run, rewards_of_run), &fixed(config, rewards)))
    }

    /// An error that names every difference in the task since the run started.
    pub(super) fn check_task<T: Serialize>(&self, task: &Task<T>) -> Result<(), Error> {
        let found = start::task_sums(task).map_err(|e| Error::io(&self.path)(e.into()))?;
        let of_run = self.description.start.iter().filter(|(name, _)| name.ends_with(".jsonl"));
        self.refuse(differences(&json!(of_run.collect::<BTreeMap<_, _>>()), &json!(found)))
    }

    fn refuse(&self, differences: Vec<String>) -> Result<(), Error> {
        if differences.is_empty() {
            Ok(())
        } else {
            Err(Error::Changed { path: self.path.clone(), differences })
        }
    }

    /// The folder with the model that the run started with.
    pub(super) fn model(&self) -> PathBuf {
        self.path.join(START)
    }

    /// The adapters that it started with, unless they were new.
    pub(super) fn adapter(&self) -> Option<PathBuf> {
        Some(start::adapter(&self.model())).filter(|adapter| adapter.exists())
    }

    /// What the run trains and is evaluated on.
    pub fn task<T: DeserializeOwned>(&self) -> Result<Task<T>, Error> {
        start::read_task(&self.model(), &self.description.tests)
    }

    /// Its checkpoints; keeps only the newest `keep`.
    pub(super) fn checkpoints(&self, keep: NonZeroUsize) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoints"), keep)
    }

    /// A file of the run, if it exists.
    pub(super) fn read_json<V: DeserializeOwned>(&self, name: &str) -> Result<Option<V>, Error> {
        let path = self.path.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        serde_json::from_str(&text).map(Some).map_err(|e| Error::Damaged {
            path,
            reason: e.to_string(),
            advice: "restore it",
        })
    }

    /// Writes a file of the run.
    pub(super) fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let text =
            serde_json::to_string_pretty(value).map_err(|e| Error::io(&self.path.join(name))(e.into()))?;
        self.write_text(name, &(text + "\n"))
    }

    fn write_text(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        write_bytes(&path, text).map_err(Error::io(&path))
    }
}
