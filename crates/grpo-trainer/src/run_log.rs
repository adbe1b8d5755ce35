use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use grpo_reward::Rubric;
use serde_json::{Map, Value, json};

use crate::{Experiences, Metrics};

/// The record of a run: a line of `metrics.jsonl` for each step and a line of `completions.jsonl` for each completion.
///
/// Lines are appended and handed to the operating system step by step, so that a run that is killed keeps all that came before.
pub struct RunLog {
    metrics: (PathBuf, File),
    completions: (PathBuf, File),
}

/// A record that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; make room or choose another folder", path.display())]
pub struct RunLogError {
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's reason.
    #[source]
    pub source: std::io::Error,
}

impl RunLog {
    /// Opens the record in `folder`, which is made if need be; what is in it already is kept.
    pub fn open(folder: &Path) -> Result<Self, RunLogError> {
        std::fs::create_dir_all(folder).map_err(|source| RunLogError { path: folder.into(), source })?;
        let open = |name| {
            let path = folder.join(name);
            match OpenOptions::new().create(true).append(true).open(&path) {
                Ok(file) => Ok((path, file)),
                Err(source) => Err(RunLogError { path, source }),
            }
        };
        Ok(Self { metrics: open("metrics.jsonl")?, completions: open("completions.jsonl")? })
    }

    /// Adds a step whose completions were scored by `rubric`.
    pub fn append<T: ?Sized>(
        &mut self,
        metrics: &Metrics,
        experiences: &Experiences,
        rubric: &Rubric<T>,
    ) -> Result<(), RunLogError> {
        let line = serde_json::to_string(metrics).expect("metrics are plain numbers") + "\n";
        write(&mut self.metrics, &line)?;
        let mut lines = String::new();
        for group in &experiences.groups {
            for (sample, experience) in group.experiences.iter().enumerate() {
                let each = rubric.names().zip(&experience.scores.each);
                let rewards: Map<String, Value> =
                    each.map(|(name, r)| (name.to_string(), json!(r))).collect();
                let line = json!({
                    "step": metrics.step,
                    "problem": group.problem,
                    "sample": sample,
                    "text": experience.completion.text,
                    "tokens": experience.completion.n_tokens,
                    "finish": format!("{:?}", experience.completion.finish).to_lowercase(),
                    "reward": experience.scores.total,
                    "rewards": rewards,
                    "advantage": experience.advantage,
                });
                lines.push_str(&(line.to_string() + "\n"));
            }
        }
        write(&mut self.completions, &lines)
    }
}

fn write((path, file): &mut (PathBuf, File), text: &str) -> Result<(), RunLogError> {
    file.write_all(text.as_bytes()).map_err(|source| RunLogError { path: path.clone(), source })
}
