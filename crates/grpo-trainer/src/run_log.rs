use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result as IoResult, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use grpo_files::sync_folder;
use grpo_reward::Rubric;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Experiences, Metrics, Times};

/// The record of a run: a line of `metrics.jsonl` and of `times.jsonl` for each step, and a line of `completions.jsonl` for each
/// completion. All but the times are determined by the run's numbers: two runs of the same are the same byte for byte.
///
/// Lines are handed to the operating system step by step, so that a run that is killed keeps all that came before. What could
/// not be written (a full disk, say) is kept in memory and written with the next step.
pub struct RunLog {
    metrics: LogFile,
    times: LogFile,
    completions: LogFile,
}

/// How many bytes of each file a checkpoint has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPosition {
    /// Of `metrics.jsonl`.
    pub metrics: u64,
    /// Of `times.jsonl`.
    pub times: u64,
    /// Of `completions.jsonl`.
    pub completions: u64,
}

/// A record that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}; make room or choose another folder", path.display())]
pub struct RunLogError {
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's reason.
    pub cause: Error,
}

impl RunLog {
    /// Opens the record in `folder`, which is made if need be; what is in it already is kept.
    pub fn open(folder: &Path) -> Result<Self, RunLogError> {
        Self::open_at(folder, [None; 3])
    }

    /// Opens the record of a run that resumes from a checkpoint: what came after that is dropped, because it will be written again.
    pub fn resume(folder: &Path, at: LogPosition) -> Result<Self, RunLogError> {
        Self::open_at(folder, [at.metrics, at.times, at.completions].map(Some))
    }

    fn open_at(folder: &Path, lengths: [Option<u64>; 3]) -> Result<Self, RunLogError> {
        std::fs::create_dir_all(folder).map_err(|cause| RunLogError { path: folder.into(), cause })?;
        let [metrics, times, completions] = lengths;
        let log = Self {
            metrics: LogFile::open(folder.join("metrics.jsonl"), metrics)?,
            times: LogFile::open(folder.join("times.jsonl"), times)?,
            completions: LogFile::open(folder.join("completions.jsonl"), completions)?,
        };
        sync_folder(folder).map_err(|cause| RunLogError { path: folder.into(), cause })?;
        Ok(log)
    }

    /// Adds a step whose completions were scored by `rubric`.
    pub fn append<T: ?Sized>(
        &mut self,
        metrics: &Metrics,
        times: &Times,
        experiences: &Experiences,
        rubric: &Rubric<T>,
    ) -> Result<(), RunLogError> {
        self.metrics.pending += &metrics_line(metrics);
        let mut times = json!(times);
        times["step"] = json!(metrics.step);
        self.times.pending += &(times.to_string() + "\n");
        self.completions.pending += &completion_lines(metrics.step, experiences, rubric);
        self.flush()
    }

    /// Writes what could not be written before, waits until all of it is on the disk, and returns how much that is.
    pub fn sync(&mut self) -> Result<LogPosition, RunLogError> {
        self.flush()?;
        for log in self.files() {
            log.file.sync_data().map_err(|cause| RunLogError { path: log.path.clone(), cause })?;
        }
        Ok(LogPosition {
            metrics: self.metrics.written,
            times: self.times.written,
            completions: self.completions.written,
        })
    }

    fn flush(&mut self) -> Result<(), RunLogError> {
        // All are tried, whichever fails.
        let results = self.files().map(LogFile::flush);
        results.into_iter().collect()
    }

    fn files(&mut self) -> [&mut LogFile; 3] {
        [&mut self.metrics, &mut self.times, &mut self.completions]
    }
}

/// The line of `metrics.jsonl` for a step.
pub fn metrics_line(metrics: &Metrics) -> String {
    serde_json::to_string(metrics).expect("metrics are plain numbers") + "\n"
}

/// The lines of `completions.jsonl` for a step whose completions were scored by `rubric`.
pub fn completion_lines<T: ?Sized>(step: u64, experiences: &Experiences, rubric: &Rubric<T>) -> String {
    let mut lines = String::new();
    for group in &experiences.groups {
        for (sample, experience) in group.completions.iter().enumerate() {
            let each = rubric.names().zip(&experience.scored.scores.each);
            let rewards: Map<String, Value> = each.map(|(name, r)| (name.to_string(), json!(r))).collect();
            let line = json!({
                "step": step,
                "problem": group.problem,
                "sample": sample,
                "text": experience.scored.completion.text,
                "tokens": experience.scored.completion.n_tokens,
                "finish": format!("{:?}", experience.scored.completion.finish).to_lowercase(),
                "reward": experience.scored.scores.total,
                "rewards": rewards,
                "advantage": experience.advantage,
            });
            lines.push_str(&(line.to_string() + "\n"));
        }
    }
    lines
}

/// A file that lines are added to.
struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes that are known to be in it.
    written: u64,
    /// Lines that are not.
    pending: String,
}

impl LogFile {
    /// Opens a file at its end, or cuts it to a length.
    fn open(path: PathBuf, length: Option<u64>) -> Result<Self, RunLogError> {
        let open = || {
            let file = OpenOptions::new().create(true).write(true).truncate(false).open(&path)?;
            let found = file.metadata()?.len();
            let written = length.unwrap_or(found);
            if found < written {
                let reason = format!(
                    "it has {found} bytes, and the checkpoint was written when it had {written}: restore the file"
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
        // A write that failed may have left a part of a line, which this one begins on.
        self.file.seek(SeekFrom::Start(self.written))?;
        self.file.write_all(self.pending.as_bytes())?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
