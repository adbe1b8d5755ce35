use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result as IoResult, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use grpo_files::sync_folder;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{CompletionRecord, Metrics, Times};

/// The file of a run's evaluations during training.
pub const EVALUATIONS: &str = "evaluations.jsonl";

/// The record of a run: one line of `metrics.jsonl` and `times.jsonl` per step, and one line of `completions.jsonl` per
/// completion, and one line of `evaluations.jsonl` per evaluation. Everything except the times is deterministic: two runs with the same configuration are byte-identical.
///
/// Lines are handed to the operating system after every step, so a killed run keeps all earlier steps. Lines that cannot be
/// written (because the disk is full, say) are kept in memory and written with the next step.
pub struct RunLog {
    metrics: LogFile,
    times: LogFile,
    completions: LogFile,
    evaluations: LogFile,
}

/// The length of each file, in bytes, at a checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Length of `metrics.jsonl`.
    pub metrics: u64,
    /// Length of `times.jsonl`.
    pub times: u64,
    /// Length of `completions.jsonl`.
    pub completions: u64,
    /// Length of `evaluations.jsonl`.
    pub evaluations: u64,
}

/// A record that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}; if the disk is full, free up space", path.display())]
pub struct RunLogError {
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's error.
    pub cause: Error,
}

impl RunLog {
    /// Opens the record in `folder`, which is created if needed; existing lines are kept.
    pub fn open(folder: &Path) -> Result<Self, RunLogError> {
        Self::open_at(folder, [None; 4])
    }

    /// Opens the record of a run that resumes from a checkpoint; lines written after the checkpoint are dropped, because they
    /// will be written again.
    pub fn resume(folder: &Path, at: LogPosition) -> Result<Self, RunLogError> {
        Self::open_at(folder, [at.metrics, at.times, at.completions, at.evaluations].map(Some))
    }

    fn open_at(folder: &Path, lengths: [Option<u64>; 4]) -> Result<Self, RunLogError> {
        std::fs::create_dir_all(folder).map_err(|cause| RunLogError { path: folder.into(), cause })?;
        let [metrics, times, completions, evaluations] = lengths;
        let log = Self {
            metrics: LogFile::open(folder.join("metrics.jsonl"), metrics)?,
            times: LogFile::open(folder.join("times.jsonl"), times)?,
            completions: LogFile::open(folder.join("completions.jsonl"), completions)?,
            evaluations: LogFile::open(folder.join(EVALUATIONS), evaluations)?,
        };
        sync_folder(folder).map_err(|cause| RunLogError { path: folder.into(), cause })?;
        Ok(log)
    }

    /// Adds a step and its completions.
    pub fn append(
        &mut self,
        metrics: &Metrics,
        times: &Times,
        completions: &[CompletionRecord],
    ) -> Result<(), RunLogError> {
        self.metrics.pending += &metrics_line(metrics);
        let mut times = json!(times);
        times["step"] = json!(metrics.step);
        self.times.pending += &(times.to_string() + "\n");
        self.completions.pending += &completion_lines(completions);
        self.flush()
    }

    /// Adds an evaluation.
    pub fn append_evaluation(&mut self, evaluation: &impl Serialize) -> Result<(), RunLogError> {
        self.evaluations.pending += &line(evaluation);
        self.flush()
    }

    /// Writes any pending lines, waits until everything is on disk, and returns the file lengths.
    pub fn sync(&mut self) -> Result<LogPosition, RunLogError> {
        self.flush()?;
        for log in self.files() {
            log.file.sync_data().map_err(|cause| RunLogError { path: log.path.clone(), cause })?;
        }
        Ok(LogPosition {
            metrics: self.metrics.written,
            times: self.times.written,
            completions: self.completions.written,
            evaluations: self.evaluations.written,
        })
    }

    fn flush(&mut self) -> Result<(), RunLogError> {
        // Try all files, even if one fails.
        let results = self.files().map(LogFile::flush);
        results.into_iter().collect()
    }

    fn files(&mut self) -> [&mut LogFile; 4] {
        [&mut self.metrics, &mut self.times, &mut self.completions, &mut self.evaluations]
    }
}

/// The line of `metrics.jsonl` for a step.
pub fn metrics_line(metrics: &Metrics) -> String {
    line(metrics)
}

/// The lines of `completions.jsonl`.
pub fn completion_lines(completions: &[CompletionRecord]) -> String {
    completions.iter().map(line).collect()
}

fn line(entry: &impl Serialize) -> String {
    serde_json::to_string(entry).expect("texts and numbers can be written") + "\n"
}

/// A file to which lines are appended.
struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes known to be in the file.
    written: u64,
    /// Lines that are not in it yet.
    pending: String,
}

impl LogFile {
    /// Opens a file at its end, or truncates it to a length.
    fn open(path: PathBuf, length: Option<u64>) -> Result<Self, RunLogError> {
        let open = || {
            let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
            let found = file.metadata()?.len();
            let written = length.unwrap_or(found);
            if found < written {
                let reason = format!(
                    "it has {found} bytes, but had {written} when the checkpoint was written: restore the file"
                );
                return Err(Error::new(ErrorKind::UnexpectedEof, reason));
            }
            if length.is_some() {
                file.set_len(written)?;
            }
            Ok((file, written))
        };
        match open() {
            Ok((file, written)) => Ok(Self { path, file, written, pending: String::new() }),
            Err(cause) => Err(RunLogError { path, cause }),
        }
    }

    fn flush(&mut self) -> Result<(), RunLogError> {
        self.write().map_err(|cause| RunLogError { path: self.path.clone(), cause })
    }

    fn write(&mut self) -> IoResult<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // A failed write may have left part of a line; start there.
        self.file.seek(SeekFrom::Start(self.written))?;
        self.file.write_all(self.pending.as_bytes())?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
