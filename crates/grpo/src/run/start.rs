//! What a run started with: the model, the adapters and the problems. Nothing else is needed to resume it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;

use grpo_files::{rename_durably, sha256, sha256_of, sync_folder, write_bytes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Question, Task, Test};

/// The problems to train on.
pub(super) const PROBLEMS: &str = "problems.jsonl";
const ADAPTER: &str = "adapter";

fn test_file(i: usize) -> String {
    format!("test-{i}.jsonl")
}

/// The adapters' folder.
pub(super) fn adapter(start: &Path) -> std::path::PathBuf {
    start.join(ADAPTER)
}

/// Writes what a run starts with to `start`, atomically; an existing one is replaced.
pub(super) fn replace<T: Serialize>(
    start: &Path,
    model: &Path,
    adapters: Option<&Path>,
    task: &Task<T>,
) -> Result<(), Error> {
    let [partial, replaced] = ["partial", "replaced"].map(|ending| start.with_extension(ending));
    for left_over in [&partial, &replaced].into_iter().filter(|folder| folder.exists()) {
        fs::remove_dir_all(left_over).map_err(Error::io(left_over))?;
    }
    write(&partial, model, adapters, task)?;
    if start.exists() {
        fs::rename(start, &replaced).map_err(Error::io(start))?;
        fs::remove_dir_all(&replaced).map_err(Error::io(&replaced))?;
    }
    rename_durably(&partial, start).map_err(Error::io(start))
}

fn write<T: Serialize>(
    start: &Path,
    model: &Path,
    adapters: Option<&Path>,
    task: &Task<T>,
) -> Result<(), Error> {
    copy_files(model, start)?;
    if let Some(adapters) = adapters {
        copy_files(adapters, &adapter(start))?;
    }
    for (i, test) in task.tests.iter().enumerate() {
        write_questions(&start.join(test_file(i)), &test.questions)?;
    }
    write_questions(&start.join(PROBLEMS), &task.train)
}

/// The problems that a run started with, and its tests with these names.
pub(super) fn read_task<T: DeserializeOwned>(start: &Path, tests: &[String]) -> Result<Task<T>, Error> {
    let mut task = Task::new(read_questions(&start.join(PROBLEMS))?);
    for (i, name) in tests.iter().enumerate() {
        let questions = read_questions(&start.join(test_file(i)))?;
        task.tests.push(Test { name: name.clone(), questions });
    }
    Ok(task)
}

/// Copies the model files of a model folder; links to its weights if possible.
fn copy_files(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::io(to))?;
    for entry in fs::read_dir(from).map_err(Error::io(from))? {
        let path = entry.map_err(Error::io(from))?.path();
        let is_part = path.extension().is_some_and(|extension| {
            ["json", "safetensors", "jinja", "txt"].iter().any(|part| extension == *part)
        });
        if is_part && path.is_file() {
            let to = to.join(file_name(&path));
            // The Hub's cache links to files elsewhere.
            let path = fs::canonicalize(&path).map_err(Error::io(&path))?;
            let is_large = to.extension().is_some_and(|extension| extension == "safetensors");
            if !is_large || fs::hard_link(&path, &to).is_err() {
                fs::copy(&path, &to).and_then(|_| File::open(&to)?.sync_all()).map_err(Error::io(&to))?;
            }
        }
    }
    sync_folder(to).map_err(Error::io(to))
}

fn file_name(path: &Path) -> &OsStr {
    path.file_name().expect("an entry of a folder has a name")
}

/// Questions in file format, one per line.
fn lines<T: Serialize>(questions: &[Question<T>]) -> Result<String, serde_json::Error> {
    questions.iter().map(|question| Ok(serde_json::to_string(question)? + "\n")).collect()
}

/// SHA-256 of a task's files as a run would write them, keyed by name.
pub(super) fn task_sums<T: Serialize>(task: &Task<T>) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let tests = task.tests.iter().enumerate().map(|(i, test)| (test_file(i), &test.questions));
    let files = std::iter::once((PROBLEMS.to_string(), &task.train)).chain(tests);
    files.map(|(name, questions)| Ok((name, sha256_of(lines(questions)?.as_bytes())))).collect()
}

fn write_questions<T: Serialize>(path: &Path, questions: &[Question<T>]) -> Result<(), Error> {
    let lines = lines(questions).map_err(|e| Error::io(path)(e.into()))?;
    write_bytes(path, lines).map_err(Error::io(path))
}

fn read_questions<T: DeserializeOwned>(path: &Path) -> Result<Vec<Question<T>>, Error> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let question = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| Error::Damaged {
            path: path.to_owned(),
            reason: format!("line {}: {e}", i + 1),
            advice: "its truths must have the type that the program's rewards compare with",
        })
    };
    text.lines().enumerate().map(question).collect()
}

/// SHA-256 of the files in a folder and in its adapter folder.
pub(super) fn sums(folder: &Path) -> Result<BTreeMap<String, String>, Error> {
    let mut sums = BTreeMap::new();
    for part in [String::new(), format!("{ADAPTER}/")] {
        let Ok(entries) = fs::read_dir(folder.join(&part)) else { continue };
        for entry in entries {
            let path = entry.map_err(Error::io(folder))?.path();
            if path.is_file() {
                let (_, sum) = sha256(&path).map_err(Error::io(&path))?;
                sums.insert(format!("{part}{}", file_name(&path).to_string_lossy()), sum);
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
