//! Stopping a run and resuming it, to the bit.

use std::path::{Path, PathBuf};

use grpo_reward::Rubric;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checkpoint::{read_text, write_json};
use crate::step::Ahead;
use crate::trainer::Progress;
use crate::{
    Checkpoint, CheckpointError, Checkpoints, LogPosition, Policy, Resumable, RunLog, Text, Trainer,
    TrainerConfig, differences,
};

const STATE: &str = "state.json";
/// The most steps that a run can have taken: far above any real one, and far below where counting fails.
const MAX_STEP: u64 = 1 << 32;

/// What a checkpoint holds besides the policy.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    progress: Progress,
    /// Everything that the steps to come depend on.
    config: Value,
    log: Option<LogPosition>,
    /// Samples of the next step, if they have been drawn already.
    ahead: Option<Ahead>,
}

impl<X: Text, M: Resumable, O: Resumable<M>, R: Resumable<M>, T> Trainer<Policy<X, M, O, R>, T> {
    /// Writes a checkpoint of the run as it is after the last step, and where its record, if it keeps one, is.
    ///
    /// The order of problems and the keys of all samples are determined by the seed and the step, so there is nothing of theirs
    /// to keep, except the samples that [`learn_and_sample`](Self::learn_and_sample) has drawn for the next step.
    #[tracing::instrument(skip_all, name = "checkpoint")]
    pub fn save_checkpoint(
        &self,
        checkpoints: &Checkpoints,
        log: Option<&mut RunLog>,
    ) -> Result<PathBuf, CheckpointError> {
        let log = log.map(RunLog::sync).transpose()?;
        checkpoints.save(self.progress.step, |folder| {
            self.policy.save_state(folder)?;
            let state = State {
                progress: self.progress.clone(),
                config: self.settings(),
                log,
                ahead: self.ahead.clone(),
            };
            write_json(&folder.join(STATE), &state)
        })
    }

    /// This trainer, which is as the run began with it, after the steps of a checkpoint; and where the run's record was.
    ///
    /// What the steps to come depend on must be the same as when the checkpoint was written: the trainer's numbers, those of the
    /// policy's parts ([`Resumable::settings`]), and names, reward weights, gates and versions of the rubric.
    pub fn resume(mut self, checkpoint: &Checkpoint) -> Result<(Self, Option<LogPosition>), CheckpointError> {
        let path = checkpoint.path.join(STATE);
        let text = read_text(&path)?;
        let state: State = serde_json::from_str(&text).map_err(|e| CheckpointError::Damaged {
            path: path.clone(),
            reason: format!("it cannot be read: {e}"),
        })?;
        if state.progress.step != checkpoint.step || checkpoint.step > MAX_STEP {
            let reason =
                format!("its step is {}, and that of its folder {}", state.progress.step, checkpoint.step);
            return Err(CheckpointError::Damaged { path, reason });
        }
        let differences = differences(&state.config, &self.settings());
        if !differences.is_empty() {
            let path = checkpoint.path.clone();
            return Err(CheckpointError::Changed { path, differences });
        }
        self.policy.load_state(&checkpoint.path)?;
        (self.progress, self.ahead) = (state.progress, state.ahead);
        self.policy.rollouts.follow(&self.policy.model, self.progress.step);
        Ok((self, state.log))
    }

    fn settings(&self) -> Value {
        let mut settings = self.config.settings(&self.rubric);
        settings["policy"] = self.policy.settings();
        settings
    }
}

impl<X: Text, M: Resumable, O: Resumable<M>, R: Resumable<M>> Policy<X, M, O, R> {
    /// Everything of the policy that the steps to come depend on.
    fn settings(&self) -> Value {
        json!({
            "stop": self.text.stop(),
            "model": self.model.settings(),
            "correction": self.rollouts.sampler_kind().correction(),
            "optimizer": self.optimizer.settings(),
            "reference": self.reference.as_ref().map(R::settings),
        })
    }

    fn save_state(&self, folder: &Path) -> Result<(), CheckpointError> {
        self.model.save_state(&(), folder).map_err(CheckpointError::policy)?;
        if let Some(reference) = &self.reference {
            reference.save_state(&self.model, folder).map_err(CheckpointError::policy)?;
        }
        self.optimizer.save_state(&self.model, folder).map_err(CheckpointError::policy)
    }

    fn load_state(&mut self, folder: &Path) -> Result<(), CheckpointError> {
        self.model.load_state(&(), folder).map_err(CheckpointError::policy)?;
        if let Some(reference) = &mut self.reference {
            reference.load_state(&self.model, folder).map_err(CheckpointError::policy)?;
        }
        self.optimizer.load_state(&self.model, folder).map_err(CheckpointError::policy)?;
        Ok(())
    }
}

impl TrainerConfig {
    /// Everything that the steps of a run with these numbers and rewards depend on, besides the policy.
    pub fn settings<T: ?Sized>(&self, rubric: &Rubric<T>) -> Value {
        let mut settings = json!(self);
        let parts = rubric.names().zip(rubric.reward_weights()).zip(rubric.gates()).zip(rubric.versions());
        for (((name, weight), gate), version) in parts {
            settings["rewards"][name] = json!({ "weight": weight, "gate": gate, "version": version });
        }
        settings
    }
}
