use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{Local, NaiveDateTime};
use grpo_data::{Hub, resolve_model};
use grpo_fleet::Fleet;
use grpo_reward::Rubric;
use grpo_trainer::{LogPosition, Qwen2Policy, RunLog, Trainer};
use serde_json::Value;

use super::order::longest_prompt;
use super::remote::Connected;
use super::{
    Checks, Interrupt, Preflight, Problems, Run, RunFolder, checks, limited, load, periodic, proven, remote,
    rewards,
};
use crate::device::{DeviceInfo, guard};
use crate::{Error, Plan, RunConfig, Task, Truth};

/// A run before it starts: all possible checks have passed, the model is loaded, and nothing has been written.
pub struct Prepared<T> {
    config: RunConfig,
    task: Task<T>,
    trainer: Trainer<Qwen2Policy, T>,
    fleet: Option<Arc<Fleet>>,
    plan: Plan,
    model: PathBuf,
    began: NaiveDateTime,
    rewards: Value,
    /// Of the device; none for the CPU.
    device: Option<DeviceInfo>,
}

impl<T: Truth> Prepared<T> {
    /// Checks a configuration, a task and its rewards, and loads the model. An id on the Hub is looked up as [`Hub::from_env`] does;
    /// for another Hub, name the folder that [`resolve_model`] gives.
    pub fn new(
        mut config: RunConfig,
        task: Task<T>,
        rubric: Rubric<T>,
        checks: &Checks,
    ) -> Result<Self, Error> {
        config.validate()?;
        config.execution.device.require()?;
        let model = resolve_model(&config.task.model, &Hub::from_env()?)?;
        if let Some(adapter) = config.task.adapter.clone() {
            checks::adapter(&mut config, Path::new(&adapter))?;
        }
        let task = checks::prompts(&config, &model, task)?;
        let rubric = limited(rubric, &config);
        checks::truths(&rubric, &task)?;
        checks.rewards(&rubric, &task)?;
        periodic::check(&config.execution, &task, &rubric)?;
        let (began, rewards) = (Local::now().naive_local(), rewards(&config, &rubric));
        checks::own_rewards(&mut config, &rewards);
        let proof = proven(config.execution.device, &model, &config)?;
        let adapter = config.task.adapter.as_deref().map(Path::new);
        let (trainer, fleet) = guard(proof.info.as_ref(), || {
            let policy = load(&model, adapter, &proof.device, &config)?.with_clock(began);
            let Connected { policy, fleet } = remote::connect(&config, policy)?;
            Ok::<_, Error>((Trainer::new(policy, rubric, config.algorithm.clone())?, fleet))
        })?;
        let longest = longest_prompt(&task, trainer.policy())?;
        remote::check(fleet.as_ref(), &config, trainer.policy(), longest)?;
        let plan = Plan::new(&trainer, &config, longest);
        if let Some(info) = &proof.info {
            info.check_memory(plan.memory.total())?;
        }
        Ok(Self { config, task, trainer, fleet, plan, model, began, rewards, device: proof.info })
    }

    /// The resources that the run needs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The rewards of the model on the first problems before training, answered for at most about `time`.
    pub fn preflight(&self, problems: usize, time: Duration) -> Result<Preflight, Error> {
        let order = Problems::new(&self.task, &self.config);
        guard(self.device.as_ref(), || {
            Preflight::run(&self.trainer, order, problems, time, &Interrupt::default())
        })
    }

    /// Takes a step to measure its duration.
    pub fn time_step(mut self) -> Result<Duration, Error> {
        guard(self.device.as_ref(), || {
            let start = Instant::now();
            let (experiences, _) = Problems::new(&self.task, &self.config).roll_out(&self.trainer)?;
            self.trainer.learn(&experiences)?;
            Ok(start.elapsed())
        })
    }

    /// Starts the run in a folder.
    pub fn begin(self, folder: impl AsRef<Path>) -> Result<Run<T>, Error> {
        let (path, Self { config, task, trainer, fleet, plan, model, began, rewards, device }) =
            (folder.as_ref(), self);
        // Before the lock, which makes the folder, and again under it: another process may have been faster.
        RunFolder::check_free(path)?;
        plan.check_disk(path)?;
        let is_new = !path.exists();
        let lock = RunFolder::lock(path)?;
        let begin = || {
            RunFolder::check_free(path)?;
            let folder = RunFolder::create(path, began, &config, rewards, &task, &model, device)?;
            let trainer = remote::keep_journal(&config, path, trainer)?;
            Ok((folder, trainer, RunLog::resume(path, LogPosition::default())?))
        };
        let (folder, trainer, log) = begin().inspect_err(|_: &Error| {
            // A start that failed leaves nothing behind; why it failed is the error to report.
            if is_new {
                let _ = std::fs::remove_dir_all(path);
            }
        })?;
        let interrupt = Interrupt::default();
        Ok(Run { folder, _lock: lock, config, task, trainer, fleet, log, plan, interrupt })
    }
}
