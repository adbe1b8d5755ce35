//! A run: a folder, and the steps taken in it.

mod checks;
mod curriculum;
mod evaluate;
mod event;
mod folder;
mod order;
mod periodic;
mod preflight;
mod prepared;
mod remote;
mod replay;
mod saver;
mod start;
mod together;
mod train;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grpo_fleet::Fleet;
use grpo_reward::Rubric;
use grpo_trainer::{
    CheckpointError, LogPosition, MemoryPlan, Qwen2Policy, RolloutDtype, RunLog, Trainer, Workload,
};
use serde_json::Value;

use crate::config::RunConfig;
use crate::device::{Device, DeviceInfo, DeviceKind, Proof, Subject, guard, prove};
use crate::{Error, Plan, Settings, Task, Truth};

pub use checks::Checks;
pub(crate) use checks::scorable;
pub use evaluate::{Comparison, Evaluated, Rewarded};
pub use event::{Event, Phase};
pub use folder::RunFolder;
pub use order::{Problems, problems};
pub use periodic::Best;
pub use preflight::{Obstacle, Preflight};
pub use prepared::Prepared;
pub use replay::{Compared, Replay, ReplayedStep};
pub use together::follow;
pub use train::Outcome;

pub(crate) use folder::Lock;
use order::longest_prompt;
use remote::Connected;

/// A training run in its own folder, locked while this value exists.
///
/// Whatever ends the process, [`Run::resume`] continues the run bit-exactly from its newest checkpoint; [`Run::open`] starts
/// or resumes as needed.
///
/// `T` is the type of truths. They are stored in the run folder, which is therefore self-contained.
pub struct Run<T> {
    folder: RunFolder,
    _lock: Lock,
    config: RunConfig,
    task: Task<T>,
    trainer: Trainer<Qwen2Policy, T>,
    /// The servers that sample; none if this process does.
    fleet: Option<Arc<Fleet>>,
    log: RunLog,
    plan: Plan,
    interrupt: Interrupt,
}

/// Asks a run to stop after its current operation.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks; true if it was asked before.
    pub fn request(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether it was asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<T: Truth> Run<T> {
    /// Starts a run in `folder`, or resumes the existing one if it has the same configuration (except
    /// [`execution`](RunConfig::execution)), data and rewards.
    pub fn open(
        folder: impl AsRef<Path>,
        config: RunConfig,
        task: Task<T>,
        rubric: Rubric<T>,
    ) -> Result<Self, Error> {
        Self::open_with(folder, config, task, rubric, &Checks::default())
    }

    /// [`open`](Self::open) with other checks before the run starts.
    pub fn open_with(
        folder: impl AsRef<Path>,
        mut config: RunConfig,
        task: Task<T>,
        rubric: Rubric<T>,
        checks: &Checks,
    ) -> Result<Self, Error> {
        let path = folder.as_ref();
        if !RunFolder::is_run(path) {
            return Self::begin(path, config, task, rubric, checks);
        }
        let lock = RunFolder::lock(path)?;
        let folder = RunFolder::open(path)?;
        // The adapter as the run started with it.
        if let Some(adapter) = folder.adapter() {
            checks::adapter(&mut config, &adapter)?;
        }
        let rewards = rewards(&config, &rubric);
        checks::own_rewards(&mut config, &rewards);
        folder.check(&config, &rewards)?;
        folder.check_task(&checks::prompts(&config, &folder.model(), task)?)?;
        Self::continue_run(folder, lock, config, rubric, &[])
    }

    /// Starts a run in `folder` after all possible checks; nothing is written before that.
    pub fn begin(
        folder: impl AsRef<Path>,
        config: RunConfig,
        task: Task<T>,
        rubric: Rubric<T>,
        checks: &Checks,
    ) -> Result<Self, Error> {
        // Before the model is loaded, and again after: another process may have started a run meanwhile.
        RunFolder::check_free(folder.as_ref())?;
        Prepared::new(config, task, rubric, checks)?.begin(folder)
    }

    /// Resumes the run in `folder`, with other [`execution`](RunConfig::execution) settings if given. From here on, the
    /// problems in `skip` (those on which a step fails) are skipped.
    pub fn resume(
        folder: impl AsRef<Path>,
        settings: &Settings,
        rubric: Rubric<T>,
        skip: &[u64],
    ) -> Result<Self, Error> {
        let path = folder.as_ref();
        // Before locking: otherwise a folder without a run would get a lock file.
        RunFolder::check_run(path)?;
        let lock = RunFolder::lock(path)?;
        let folder = RunFolder::open(path)?;
        let config = settings.config_over(folder.config())?;
        folder.check(&config, &rewards(&config, &rubric))?;
        Self::continue_run(folder, lock, config, rubric, skip)
    }

    /// Continues a run whose configuration, data and rewards have been checked to be those that it started with.
    fn continue_run(
        mut folder: RunFolder,
        lock: Lock,
        config: RunConfig,
        rubric: Rubric<T>,
        skip: &[u64],
    ) -> Result<Self, Error> {
        let task: Task<T> = folder.task()?;
        folder.check_skip(skip, task.train.len())?;
        periodic::check(&config.execution, &task, &rubric)?;
        let Loaded { trainer, fleet, device } = of_run(&folder, rubric, &config, remote::connect)?;
        let latest = folder.checkpoints(config.execution.keep).latest(u64::MAX)?;
        let (trainer, log) = match latest.checkpoint {
            Some(checkpoint) => {
                let (steps, taken) = (config.execution.steps, checkpoint.step);
                if taken > steps {
                    return Err(Error::TooFewSteps { path: folder.path().to_owned(), taken, steps });
                }
                let (trainer, position) = trainer.resume(&checkpoint)?;
                let no_record = || CheckpointError::Damaged {
                    path: checkpoint.path.clone(),
                    reason: "it doesn't say where the record was".to_string(),
                };
                (trainer, RunLog::resume(folder.path(), position.ok_or_else(no_record)?)?)
            }
            None => (trainer, RunLog::resume(folder.path(), LogPosition::default())?),
        };
        for damaged in latest.damaged {
            tracing::warn!("{damaged}; resuming from an earlier checkpoint");
        }
        let longest = longest_prompt(&task, trainer.policy())?;
        remote::check(fleet.as_ref(), &config, trainer.policy(), longest)?;
        let plan = Plan::new(&trainer, &config, longest);
        folder.continue_run(trainer.steps(), &config, skip, device)?;
        let interrupt = Interrupt::default();
        Ok(Self { folder, _lock: lock, config, task, trainer, fleet, log, plan, interrupt })
    }

    /// The rewards of the current policy on the first problems, answered for at most about `time`.
    pub fn preflight(&self, problems: usize, time: Duration) -> Result<Preflight, Error> {
        let order = Problems::new(&self.task, &self.config).skipping(self.folder.skipped());
        Preflight::run(&self.trainer, order, problems, time, &self.interrupt)
    }
}

impl<T> Run<T> {
    /// Its folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Its configuration.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// What it trains on.
    pub fn task(&self) -> &Task<T> {
        &self.task
    }

    /// The resources that it needs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The trainer that takes its steps.
    pub fn trainer(&self) -> &Trainer<Qwen2Policy, T> {
        &self.trainer
    }

    /// A handle that asks it to stop; it does so after its current operation, with a checkpoint.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }
}

/// A run that has been loaded.
struct Loaded<T> {
    /// The trainer at the start of the run.
    trainer: Trainer<Qwen2Policy, T>,
    /// The servers that sample; none if this process does.
    fleet: Option<Arc<Fleet>>,
    /// The device; none for the CPU.
    device: Option<DeviceInfo>,
}

/// The trainer of a run at its start, sampled as `connect` says.
fn of_run<T: Truth>(
    folder: &RunFolder,
    rubric: Rubric<T>,
    config: &RunConfig,
    connect: fn(&RunConfig, Qwen2Policy) -> Result<Connected, Error>,
) -> Result<Loaded<T>, Error> {
    config.validate()?;
    // The device that the run was on, if it may be any: another one would round differently.
    let kind = match config.execution.device {
        DeviceKind::Auto => folder.device().map_or(DeviceKind::Cpu, |info| info.kind),
        kind => kind,
    };
    let proof = proven(kind, &folder.model(), config)?;
    let (trainer, fleet) = guard(proof.info.as_ref(), || {
        let policy = load(&folder.model(), folder.adapter().as_deref(), &proof.device, config)?;
        let Connected { policy, fleet } = connect(config, policy.with_clock(folder.began()))?;
        let trainer = Trainer::new(policy, limited(rubric, config), config.algorithm.clone())?;
        Ok::<_, Error>((remote::keep_journal(config, folder.path(), trainer)?, fleet))
    })?;
    Ok(Loaded { trainer, fleet, device: proof.info })
}

/// The device of a run, if it has enough memory, after a self-test with the shapes of its model.
fn proven(kind: DeviceKind, model: &Path, config: &RunConfig) -> Result<Proof, Error> {
    let samples_in_f16 = matches!(config.local_policy().rollout_dtype, RolloutDtype::F16(_));
    let subject = Subject { samples_in_f16, ..Subject::read(model, config.policy.lora.clone())? };
    // At least: the model has not been loaded, and no prompt has been read.
    let workload = Workload {
        problems: config.task.problems_per_step,
        prompt: 0,
        is_half: true,
        on_gpu: kind != DeviceKind::Cpu,
        activation_checkpointing: config.execution.activation_checkpointing,
        continues_adapter: config.task.adapter.is_some(),
    };
    let least = MemoryPlan::new(&subject.model, &config.algorithm, &config.local_policy(), &workload);
    Ok(prove(kind, &subject, Some(least.total()))?)
}

fn load(
    model: &Path,
    adapter: Option<&Path>,
    device: &Device,
    config: &RunConfig,
) -> Result<Qwen2Policy, Error> {
    let policy = Qwen2Policy::load(model, device, &config.local_policy())?
        .with_thinking(config.task.enable_thinking)?;
    let policy = match adapter {
        Some(adapter) => policy.with_adapter(adapter)?,
        None => policy,
    };
    let checkpointing = config.execution.activation_checkpointing;
    Ok(policy.with_name(&config.task.model).with_activation_checkpointing(checkpointing))
}

/// The rewards with the run's time limit.
fn limited<T: Truth>(rubric: Rubric<T>, config: &RunConfig) -> Rubric<T> {
    rubric.with_time_limit(Duration::from_secs(config.execution.reward_timeout))
}

/// What identifies a run's rewards.
fn rewards<T>(config: &RunConfig, rubric: &Rubric<T>) -> Value {
    config.algorithm.settings(rubric)["rewards"].take()
}
