//! Putting a run down and taking it up again, to the bit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grpo_qwen2::ModelError;
use grpo_reward::Rubric;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checkpoints::{read_text, write_json};
use crate::trainer::Progress;
use crate::{
    Checkpoint, CheckpointError, Checkpoints, LogPosition, Policy, RunLog, Schedule, Trainer, TrainerConfig,
};

const STATE: &str = "state.json";
/// The most steps that a run can have taken: far above any real one, and far below where counting fails.
const MAX_STEP: u64 = 1 << 32;

/// A policy whose training can be put down and taken up again, to the bit.
pub trait Resumable: Policy + Sized {
    /// Writes everything that training has changed to files in a folder.
    fn save_state(&self, folder: &Path) -> Result<(), ModelError>;

    /// The policy as it was when [`save_state`](Self::save_state) was called; `self` is as the run began with it.
    fn load_state(self, folder: &Path) -> Result<Self, ModelError>;
}

/// What a checkpoint holds besides the policy.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    progress: Progress,
    /// Everything that the steps to come depend on.
    config: Value,
    log: Option<LogPosition>,
}

impl<P: Resumable, T> Trainer<P, T> {
    /// Writes a checkpoint of the run as it is after the last step, and where its record, if it keeps one, is.
    ///
    /// The order of problems and all sampling noise are determined by the seed and the step, so there is nothing of theirs
    /// to keep.
    pub fn save_checkpoint(
        &self,
        checkpoints: &Checkpoints,
        log: Option<&mut RunLog>,
    ) -> Result<PathBuf, CheckpointError> {
        let log = log.map(RunLog::sync).transpose()?;
        checkpoints.save(self.progress.step, |folder| {
            self.policy.save_state(folder)?;
            let state = State { progress: self.progress.clone(), config: self.settings(), log };
            write_json(&folder.join(STATE), &state)
        })
    }

    /// This trainer, which is as the run began with it, after the steps of a checkpoint; and where the run's record was.
    ///
    /// What the steps to come depend on must be the same as when the checkpoint was written: the configuration (but for
    /// [`gradient_checkpointing`](TrainerConfig::gradient_checkpointing), and [`max_steps`](TrainerConfig::max_steps) if the
    /// learning rate does not depend on it), names, weights and gates of the rewards.
    pub fn resume(self, checkpoint: &Checkpoint) -> Result<(Self, Option<LogPosition>), CheckpointError> {
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
        let policy = self.policy.load_state(&checkpoint.path)?;
        Ok((Self { policy, progress: state.progress, ..self }, state.log))
    }

    fn settings(&self) -> Value {
        self.config.settings(&self.rubric)
    }
}

impl TrainerConfig {
    /// Everything that the steps of a run with these numbers and rewards depend on.
    pub fn settings<T: ?Sized>(&self, rubric: &Rubric<T>) -> Value {
        let mut settings = json!(self);
        let names = settings.as_object_mut().expect("a configuration has names");
        // What is computed twice is the same to the bit.
        names.remove("gradient_checkpointing");
        if self.schedule == Schedule::Constant {
            names.remove("max_steps");
        }
        for ((name, weight), gate) in rubric.names().zip(rubric.weights()).zip(rubric.gates()) {
            settings["rewards"][name] = json!({ "weight": weight, "gate": gate });
        }
        settings
    }
}

/// What two settings differ in, each as `objective.beta: 0.04 -> 0.1`.
pub fn differences(then: &Value, now: &Value) -> Vec<String> {
    let (then, now) = (leaves(then), leaves(now));
    let shown = |value: Option<&Value>| value.map_or("none".to_string(), Value::to_string);
    let names: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let changed = names.into_iter().filter(|name| then.get(*name) != now.get(*name));
    changed.map(|name| format!("{name}: {} -> {}", shown(then.get(name)), shown(now.get(name)))).collect()
}

/// The values that are no objects, by their names from the outermost to the innermost.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let Value::Object(map) = value else { return BTreeMap::from([(String::new(), value.clone())]) };
    let inner = |(name, value): (&String, &Value)| -> Vec<(String, Value)> {
        let join = |rest: String| if rest.is_empty() { name.clone() } else { format!("{name}.{rest}") };
        leaves(value).into_iter().map(|(rest, value)| (join(rest), value)).collect()
    };
    map.iter().flat_map(inner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let then = json!({ "a": { "b": 0.04, "c": [1] }, "gone": true, "same": "x" });
        let now = json!({ "a": { "b": 0.1, "c": [1] }, "new": {}, "same": "x" });
        assert_eq!(differences(&then, &now), ["a.b: 0.04 -> 0.1", "gone: true -> none"]);
        assert!(differences(&now, &now).is_empty());
    }
}
