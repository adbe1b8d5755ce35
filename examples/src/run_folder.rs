//! The folder of a run: what it began with, and everything that it has made since. Nothing else is needed to take the run up
//! again or to replay a step of it.
//!
//! ```text
//! run.json                             when it began, the options, the settings, and SHA-256 sums of what is in start
//! start/                               the model (and adapters) that it began with, its problems and its tests
//! before.json                          the tests before training
//! metrics.jsonl, completions.jsonl     every step and every completion: the same whenever the run is repeated
//! times.jsonl                          how long the steps took
//! checkpoints/                         the newest two, each to go on from
//! model/, adapter/, evaluation.json    what came of it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use chrono::NaiveDateTime;
use grpo_data::{Example, Split};
use grpo_files::{sha256, sync_folder, write_bytes};
use grpo_trainer::{Checkpoint, Checkpoints, Evaluation, differences};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::task::{Task, Test};

const DESCRIPTION: &str = "run.json";
const START: &str = "start";
const PROBLEMS: &str = "problems.jsonl";
const BEFORE: &str = "before.json";
const FORMAT: u32 = 3;

/// The folder of a run.
pub struct RunFolder {
    /// Where it is.
    pub path: PathBuf,
    description: Description,
}

/// What a run is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    /// The local time at which it began, which a chat template may write into prompts.
    began: NaiveDateTime,
    /// The command line.
    options: Vec<String>,
    /// What the options, and the defaults of those that were not given, come to.
    settings: Value,
    /// The names of the tests.
    tests: Vec<String>,
    /// SHA-256 of every file that it began with.
    start: BTreeMap<String, String>,
}

/// Held while a process works in a run's folder; given back when it ends, however it ends.
pub struct Lock(#[allow(dead_code)] File); // the file is only there to be open

impl RunFolder {
    /// A new run in `path`, which may hold what another left behind that did not come to its first step.
    pub fn create(
        path: &Path,
        options: Vec<String>,
        settings: Value,
        task: &Task,
        adapter: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let start = path.join(START);
        // First what says that there is a run, and what was measured of its model.
        for file in [DESCRIPTION, BEFORE].map(|name| path.join(name)).iter().filter(|file| file.exists()) {
            fs::remove_file(file).with_context(|| file.display().to_string())?;
        }
        if start.exists() {
            fs::remove_dir_all(&start).with_context(|| start.display().to_string())?;
        }
        fs::create_dir_all(&start).with_context(|| start.display().to_string())?;
        // The first file, because it tells that the folder is one of ours.
        write_problems(&start.join(PROBLEMS), &task.train)?;
        copy_files(&task.model, &start)?;
        if let Some(adapter) = adapter {
            copy_files(adapter, &start.join("adapter"))?;
        }
        for (i, test) in task.tests.iter().enumerate() {
            write_problems(&start.join(test_file(i)), &test.rows)?;
        }
        let tests = task.tests.iter().map(|test| test.name.clone()).collect();
        let began = chrono::Local::now().naive_local();
        let description =
            Description { format: FORMAT, began, options, settings, tests, start: sums(&start)? };
        let run = Self { path: path.into(), description };
        run.write_json(DESCRIPTION, &run.description)?;
        Ok(run)
    }

    /// The run in `path`, if all that it began with is still as it was.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = path.join(DESCRIPTION);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!(
                    "{}: no run began here, or it was ended before it was set up: begin it again without --resume",
                    path.display()
                )
            }
            text => text.with_context(|| file.display().to_string())?,
        };
        let cannot_be_read = || format!("{} cannot be read", file.display());
        let value: Value = serde_json::from_str(&text).with_context(cannot_be_read)?;
        if let Some(format) = value["format"].as_u64().filter(|format| *format != u64::from(FORMAT)) {
            bail!(
                "{} is of format {format}, and this version reads {FORMAT}: go on with the version that wrote it, or begin a new run",
                file.display()
            );
        }
        let description: Description = serde_json::from_value(value).with_context(cannot_be_read)?;
        let start = path.join(START);
        let changed = differences(&json!(description.start), &json!(sums(&start)?));
        if !changed.is_empty() {
            bail!("{} is not what the run began with ({}): restore it", start.display(), changed.join("; "));
        }
        Ok(Self { path: path.into(), description })
    }

    /// Whether there is anything in `path` that a new run would spoil.
    pub fn is_taken(path: &Path) -> bool {
        let recorded = fs::metadata(path.join("metrics.jsonl")).is_ok_and(|metrics| metrics.len() > 0);
        let start = path.join(START);
        let of_others = start.exists() && !start.join(PROBLEMS).exists();
        recorded
            || of_others
            || ["checkpoints", "model", "adapter"].iter().any(|name| path.join(name).exists())
    }

    /// Keeps other processes from working in `path`.
    pub fn lock(path: &Path) -> anyhow::Result<Lock> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        let file = path.join("lock");
        let file = File::create(&file).with_context(|| file.display().to_string())?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => {
                bail!("{}: another process is at work on this run: end it first", path.display())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("{} cannot be locked", path.join("lock").display()))
            }
        }
    }

    /// The command line that the run was begun with.
    pub fn options(&self) -> &[String] {
        &self.description.options
    }

    /// The local time at which the run began.
    pub fn began(&self) -> NaiveDateTime {
        self.description.began
    }

    /// An error that names what of `settings` is not as the run began.
    pub fn check(&self, settings: &Value) -> anyhow::Result<()> {
        let changed = differences(&self.description.settings, settings);
        if !changed.is_empty() {
            let path = self.path.display();
            bail!(
                "{path}: the run began with other settings ({}): a run goes on as it began",
                changed.join("; ")
            );
        }
        Ok(())
    }

    /// The model's folder as the run began with it.
    pub fn model(&self) -> PathBuf {
        self.path.join(START)
    }

    /// What the run trains on, and is measured on.
    pub fn task(&self) -> anyhow::Result<Task> {
        let start = self.model();
        let load = |file: &str, split| grpo_data::load(start.join(file), split);
        let test = |(i, name): (usize, &String)| {
            Ok(Test { name: name.clone(), rows: load(&test_file(i), Split::Test)? })
        };
        let tests = self.description.tests.iter().enumerate().map(test).collect::<anyhow::Result<_>>()?;
        Ok(Task { train: load(PROBLEMS, Split::Train)?, tests, model: start })
    }

    /// The adapters that it began with, if they were not new.
    pub fn adapter(&self) -> Option<PathBuf> {
        Some(self.model().join("adapter")).filter(|adapter| adapter.exists())
    }

    /// Its checkpoints, of which the newest `keep` stay.
    pub fn checkpoints(&self, keep: NonZeroUsize) -> Checkpoints {
        Checkpoints::new(self.path.join("checkpoints"), keep)
    }

    /// The newest whole checkpoint after at most so many steps; of newer ones that are damaged it is said.
    pub fn newest(&self, at_most: u64, keep: NonZeroUsize) -> anyhow::Result<Option<Checkpoint>> {
        let latest = self.checkpoints(keep).latest(at_most)?;
        for error in latest.damaged {
            eprintln!("{error}; going back to the one before");
        }
        Ok(latest.checkpoint)
    }

    /// The tests before training, which `evaluate` answers unless it has done so before.
    pub fn before(
        &self,
        evaluate: impl FnOnce() -> anyhow::Result<Vec<Evaluation>>,
    ) -> anyhow::Result<Vec<Evaluation>> {
        let path = self.path.join(BEFORE);
        if path.exists() {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            return serde_json::from_str(&text).with_context(|| {
                format!("{} cannot be read: delete it, and it is made again", path.display())
            });
        }
        let before = evaluate()?;
        self.write_json(BEFORE, &before)?;
        Ok(before)
    }

    /// Writes a file of the run.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
        let path = self.path.join(name);
        let text = serde_json::to_string_pretty(value)? + "\n";
        write_bytes(&path, text).with_context(|| format!("{} could not be written", path.display()))
    }
}

fn test_file(i: usize) -> String {
    format!("test-{i}.jsonl")
}

/// Copies the files of a model's folder that a model is made of, or links to its weights.
fn copy_files(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let is_part = path.extension().is_some_and(|extension| {
            ["json", "safetensors", "jinja", "txt"].iter().any(|part| extension == *part)
        });
        if is_part && path.is_file() {
            // The Hub's cache has links to files elsewhere.
            let (path, to) = (fs::canonicalize(&path)?, to.join(entry_name(&path)));
            let is_large = to.extension().is_some_and(|extension| extension == "safetensors");
            if !is_large || fs::hard_link(&path, &to).is_err() {
                fs::copy(&path, &to)
                    .and_then(|_| File::open(&to)?.sync_all())
                    .with_context(|| format!("{} to {}", path.display(), to.display()))?;
            }
        }
    }
    sync_folder(to).with_context(|| to.display().to_string())
}

fn entry_name(path: &Path) -> &std::ffi::OsStr {
    path.file_name().expect("an entry of a folder has a name")
}

fn write_problems(path: &Path, problems: &[Example]) -> anyhow::Result<()> {
    let line = |p: &Example| json!({ "question": p.question, "answer": p.solution }).to_string() + "\n";
    let lines: String = problems.iter().map(line).collect();
    write_bytes(path, lines).with_context(|| path.display().to_string())
}

/// SHA-256 of the files in a folder and in its folder of adapters.
fn sums(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for part in ["", "adapter/"] {
        let Ok(entries) = fs::read_dir(folder.join(part)) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                let (_, sum) = sha256(&path).with_context(|| path.display().to_string())?;
                sums.insert(format!("{part}{}", entry_name(&path).to_string_lossy()), sum);
            }
        }
    }
    Ok(sums)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// The Hub's cache has files without an extension, and links to them that have the names.
    #[test]
    fn weights_are_linked_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let [blobs, model, start] = ["blobs", "model", "start"].map(|name| folder.path().join(name));
        for folder in [&blobs, &model] {
            fs::create_dir(folder).unwrap();
        }
        for name in ["model.safetensors", "config.json"] {
            let blob = blobs.join(name.len().to_string());
            fs::write(&blob, name).unwrap();
            symlink(&blob, model.join(name)).unwrap();
        }
        copy_files(&model, &start).unwrap();
        let links = |name: &str| fs::metadata(start.join(name)).unwrap().nlink();
        assert_eq!([links("model.safetensors"), links("config.json")], [2, 1]);
    }
}
