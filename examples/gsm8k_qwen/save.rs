//! What a run writes while it trains. A disk that is full, or a folder that cannot be written to, stops the writing, not the
//! training: what could not be written is tried again after every step.

use std::path::{Path, PathBuf};

use grpo_examples::args::Args;
use grpo_examples::run_folder::RunFolder;
use grpo_qwen2::ModelError;
use grpo_trainer::{Checkpoints, Experiences, Metrics, Qwen2Policy, RunLog, Trainer};
use serde_json::Value;

type QwenTrainer = Trainer<Qwen2Policy, String>;

/// Writes the record and the checkpoints of a run.
pub struct Saver {
    metrics: PathBuf,
    checkpoints: Checkpoints,
    every: u64,
    log: RunLog,
    /// Steps that the newest checkpoint is after.
    saved: Option<u64>,
    /// Whether a checkpoint could not be written when it was due.
    overdue: bool,
    /// What could not be written last, so that it is said once.
    said: Option<String>,
}

impl Saver {
    pub fn new(run: &RunFolder, args: &Args, log: RunLog) -> Self {
        let checkpoints = run.checkpoints(args.keep);
        let metrics = run.path.join("metrics.jsonl");
        Self { metrics, checkpoints, every: args.save_every, log, saved: None, overdue: false, said: None }
    }

    /// Records a step.
    pub fn record(&mut self, trainer: &QwenTrainer, metrics: &Metrics, experiences: &Experiences) {
        match self.log.append(metrics, experiences, trainer.rubric()) {
            Ok(()) => self.said = self.said.take().filter(|_| self.overdue),
            Err(error) => self.say(format!("Steps are not recorded for now: {error}.")),
        }
    }

    /// Writes a checkpoint if it is time for one, or was before.
    pub fn save_if_due(&mut self, trainer: &QwenTrainer) {
        if self.overdue || trainer.steps().is_multiple_of(self.every) {
            self.save(trainer);
        }
    }

    /// Writes a checkpoint.
    pub fn save(&mut self, trainer: &QwenTrainer) {
        if self.saved == Some(trainer.steps()) {
            return;
        }
        match trainer.save_checkpoint(&self.checkpoints, Some(&mut self.log)) {
            Ok(path) => {
                (self.saved, self.overdue, self.said) = (Some(trainer.steps()), false, None);
                println!("Checkpoint written: {}", path.display());
            }
            Err(error) => {
                self.overdue = true;
                self.say(format!("There is no new checkpoint for now: {error}."));
            }
        }
    }

    /// Says what could not be written, once for as long as it lasts.
    fn say(&mut self, what: String) {
        if self.said.as_ref() != Some(&what) {
            eprintln!("{what} Training goes on, and it is tried again after every step.");
            self.said = Some(what);
        }
    }

    /// The mean reward of every step of the run.
    pub fn rewards(&self) -> anyhow::Result<Vec<f64>> {
        let text = std::fs::read_to_string(&self.metrics)?;
        let lines = text.lines().map(serde_json::from_str::<Value>).filter_map(Result::ok);
        Ok(lines.filter_map(|line| line["reward"].as_f64()).collect())
    }
}

/// Saves the model, adapters merged, and adapters by themselves as well; returns the model's folder.
pub fn model(policy: &Qwen2Policy, out: &Path) -> anyhow::Result<PathBuf> {
    if policy.model().has_lora() {
        keep(out, "adapter", |folder| policy.save(folder))?;
    }
    keep(out, "model", |folder| policy.save_merged(folder))
}

/// Writes to a folder of the run; if that fails, to the system's folder for temporary files, so that nothing trained is lost.
fn keep(out: &Path, name: &str, write: impl Fn(&Path) -> Result<(), ModelError>) -> anyhow::Result<PathBuf> {
    let folder = out.join(name);
    let Err(error) = write(&folder) else { return Ok(folder) };
    let rescue = std::env::temp_dir().join(format!("grpo-{name}-{}", std::process::id()));
    eprintln!("The {name} could not be saved: {error}. Trying {}.", rescue.display());
    write(&rescue)?;
    Ok(rescue)
}
