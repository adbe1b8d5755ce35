//! What a run writes while it trains. A full disk or an unwritable folder stops the writing, not the training: failed writes
//! are retried after every step.

use std::path::PathBuf;

use grpo_qwen2::ModelError;
use grpo_trainer::{Checkpoints, CompletionRecord, Metrics, Qwen2Policy, RunLog, Times, Trainer};

use super::{Evaluated, Event, Phase, RunFolder};
use crate::{Error, Truth};

/// Writes the record and the checkpoints of a run.
pub(super) struct Saver<'a> {
    log: &'a mut RunLog,
    checkpoints: Checkpoints,
    every: u64,
    /// The step of the newest checkpoint.
    saved: u64,
    /// Whether a checkpoint could not be written when it was due.
    overdue: bool,
    /// Whether some steps could not be recorded.
    unrecorded: bool,
}

impl<'a> Saver<'a> {
    /// A saver for a run that has taken `saved` steps so far.
    pub(super) fn new(log: &'a mut RunLog, checkpoints: Checkpoints, every: u64, saved: u64) -> Self {
        Self { log, checkpoints, every, saved, overdue: false, unrecorded: false }
    }

    /// Records an evaluation.
    pub(super) fn record_evaluation<T>(&mut self, tests: &[Evaluated], tell: &mut dyn FnMut(Event<'_, T>)) {
        let result = self.log.append_evaluation(&tests).map_err(Error::from);
        self.report(result, tell);
    }

    /// Saves a checkpoint of the best model so far, and keeps it in place of the former; whether it could be saved.
    pub(super) fn save_best<T: Truth>(
        &mut self,
        trainer: &Trainer<Qwen2Policy, T>,
        tell: &mut dyn FnMut(Event<'_, T>),
    ) -> bool {
        let result = self.save(trainer, tell);
        match &result {
            Ok(()) => self.checkpoints.keep_best(trainer.steps()),
            Err(error) => tell(Event::NotSaved(error)),
        }
        result.is_ok()
    }

    /// Saves a checkpoint before the run ends with an error.
    pub(super) fn save_at_last<T: Truth>(
        &mut self,
        trainer: &Trainer<Qwen2Policy, T>,
        failure: &Error,
        tell: &mut dyn FnMut(Event<'_, T>),
    ) {
        tell(Event::Failed(failure));
        if let Err(error) = self.save(trainer, tell) {
            tell(Event::NotSavedAtLast(&error));
        }
    }

    /// Records a step.
    pub(super) fn record<T>(
        &mut self,
        metrics: &Metrics,
        times: &Times,
        completions: &[CompletionRecord],
        tell: &mut dyn FnMut(Event<'_, T>),
    ) {
        let result = self.log.append(metrics, times, completions).map_err(Error::from);
        self.report(result, tell);
    }

    fn report<T>(&mut self, result: Result<(), Error>, tell: &mut dyn FnMut(Event<'_, T>)) {
        match &result {
            Ok(()) if self.unrecorded => tell(Event::RecordedAgain),
            Err(error) if !self.unrecorded => tell(Event::NotRecorded(error)),
            _ => {}
        }
        self.unrecorded = result.is_err();
    }

    /// Writes a checkpoint if one is due or overdue.
    pub(super) fn save_if_due<T: Truth>(
        &mut self,
        trainer: &Trainer<Qwen2Policy, T>,
        tell: &mut dyn FnMut(Event<'_, T>),
    ) {
        if !self.overdue && !trainer.steps().is_multiple_of(self.every) {
            return;
        }
        let result = self.save(trainer, tell);
        match &result {
            Err(error) if !self.overdue => tell(Event::NotSaved(error)),
            _ => {}
        }
        self.overdue = result.is_err();
    }

    /// Writes a checkpoint, and any part of the record not written before.
    pub(super) fn save<T: Truth>(
        &mut self,
        trainer: &Trainer<Qwen2Policy, T>,
        tell: &mut dyn FnMut(Event<'_, T>),
    ) -> Result<(), Error> {
        if self.saved != trainer.steps() {
            tell(Event::Phase(Phase::Saving));
            let path = trainer.save_checkpoint(&self.checkpoints, Some(self.log))?;
            self.saved = trainer.steps();
            tell(Event::Saved(&path));
        }
        Ok(())
    }
}

/// Saves the model with adapters merged, and the adapters separately; returns both folders.
pub(super) fn save_model<T>(
    policy: &Qwen2Policy,
    folder: &RunFolder,
    tell: &mut dyn FnMut(Event<'_, T>),
) -> Result<(PathBuf, Option<PathBuf>), Error> {
    tell(Event::Phase(Phase::Saving));
    let adapter = match policy.model().has_lora() {
        true => Some(keep(folder, "adapter", |folder| policy.save(folder), tell)?),
        false => None,
    };
    Ok((keep(folder, "model", |folder| policy.save_merged(folder), tell)?, adapter))
}

/// Writes to a folder of the run; if that fails, to the system's temporary folder, so that no training progress is lost.
fn keep<T>(
    folder: &RunFolder,
    name: &str,
    write: impl Fn(&std::path::Path) -> Result<(), ModelError>,
    tell: &mut dyn FnMut(Event<'_, T>),
) -> Result<PathBuf, Error> {
    let folder = folder.path().join(name);
    let Err(error) = write(&folder) else { return Ok(folder) };
    let rescue = std::env::temp_dir().join(format!("grpo-{name}-{}", std::process::id()));
    tell(Event::Rescued { error: &error.into(), folder: &rescue });
    write(&rescue)?;
    Ok(rescue)
}
