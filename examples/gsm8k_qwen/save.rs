//! What a run writes while it trains. A disk that is full, or a folder that cannot be written to, stops the writing, not the
//! training: what could not be written is tried again after every step.

use std::path::{Path, PathBuf};

use grpo_examples::args::Args;
use grpo_examples::run_folder::RunFolder;
use grpo_qwen2::ModelError;
use grpo_trainer::{CheckpointError, Checkpoints, Experiences, Metrics, Qwen2Policy, RunLog, Times};
use serde_json::Value;

use crate::QwenTrainer;

/// Writes the record and the checkpoints of a run.
pub struct Saver {
    metrics: PathBuf,
    checkpoints: Checkpoints,
    every: u64,
    log: RunLog,
    /// Steps that the newest checkpoint is after.
    saved: u64,
    /// Whether a checkpoint could not be written when it was due.
    overdue: bool,
    /// Whether there are steps that could not be recorded.
    unrecorded: bool,
}

/// What becomes of what could not be written.
const LATER: &str = "Training goes on, and it is tried again after every step.";

impl Saver {
    /// For a run that has taken `saved` steps so far.
    pub fn new(run: &RunFolder, args: &Args, log: RunLog, saved: u64) -> Self {
        let checkpoints = run.checkpoints(args.keep);
        let metrics = run.path.join("metrics.jsonl");
        Self { metrics, checkpoints, every: args.save_every, log, saved, overdue: false, unrecorded: false }
    }

    /// Records a step.
    pub fn record(
        &mut self,
        trainer: &QwenTrainer,
        metrics: &Metrics,
        times: &Times,
        experiences: &Experiences,
    ) {
        let result = self.log.append(metrics, times, experiences, trainer.rubric());
        match &result {
            Ok(()) if self.unrecorded => eprintln!("All steps are recorded again."),
            Err(error) if !self.unrecorded => eprintln!("Steps are not recorded for now: {error}. {LATER}"),
            _ => {}
        }
        self.unrecorded = result.is_err();
    }

    /// Writes a checkpoint if it is time for one, or was before.
    pub fn save_if_due(&mut self, trainer: &QwenTrainer) {
        if !self.overdue && !trainer.steps().is_multiple_of(self.every) {
            return;
        }
        let result = self.save(trainer);
        match &result {
            Err(error) if !self.overdue => eprintln!("There is no new checkpoint for now: {error}. {LATER}"),
            _ => {}
        }
        self.overdue = result.is_err();
    }

    /// Writes a checkpoint, and what of the record could not be written before.
    pub fn save(&mut self, trainer: &QwenTrainer) -> Result<(), CheckpointError> {
        if self.saved != trainer.steps() {
            let path = trainer.save_checkpoint(&self.checkpoints, Some(&mut self.log))?;
            self.saved = trainer.steps();
            println!("Checkpoint written: {}", path.display());
        }
        Ok(())
    }

    /// Writes a checkpoint on the way out of a run that an error ends.
    pub fn save_at_last(&mut self, trainer: &QwenTrainer) {
        if let Err(error) = self.save(trainer) {
            eprintln!("The last checkpoint could not be written: {error}.");
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
