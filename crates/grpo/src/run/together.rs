//! Several processes that train together. The first one leads: it has the run and its folder, and tells the others what to do. The
//! others read the folder and write nothing.

use std::path::PathBuf;
use std::sync::Arc;

use grpo_reward::Rubric;
use grpo_trainer::{Collective, EvaluationOptions, Qwen2Policy, Trainer, TrainerError};
use serde::{Deserialize, Serialize};

use super::evaluate::test_problems;
use super::order::Problems;
use super::{Loaded, Run, RunFolder, of_run, remote};
use crate::device::guard;
use crate::{Error, RunConfig, Task, Truth};

/// What the first process tells the others to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Instruction {
    /// Load the run in a folder, after this many steps.
    Load { folder: PathBuf, steps: u64 },
    /// Answer a share of a test, or of a subset of it.
    Answer { test: usize, subset: Option<usize> },
    /// Take a step, and sample the next one ahead or not.
    Step { ahead: bool },
    /// There is nothing more to do.
    End,
}

impl Instruction {
    /// Gives the instruction, if there is anybody to give it to.
    pub(super) fn give(self, collective: &dyn Collective) -> Result<(), TrainerError> {
        collective.from_first(|| Ok(self)).map(|_: Self| ())
    }

    fn receive(collective: &dyn Collective) -> Result<Self, TrainerError> {
        collective.from_first(|| Ok(Self::End))
    }
}

impl<T: Truth> Run<T> {
    /// From here on, shares the work of evaluations and steps with other processes, each of which calls [`follow`]. This one must be the
    /// first, and the preflight must be over. All must see the run's folder under the same path.
    pub fn share(&mut self, collective: Arc<dyn Collective>) -> Result<(), Error> {
        let before = self.folder.process(self.trainer.steps()).map(|process| process.processes);
        let n = collective.size();
        if let Some(before) = before.filter(|before| *before != n) {
            tracing::warn!(
                "the run continues in {n} instead of {before} processes, so its steps round differently"
            );
        }
        if n > 1 {
            self.folder.set_processes(n)?;
        }
        lead(&self.folder, &mut self.trainer, collective)
    }

    /// Lets the other processes go.
    pub fn dismiss(&mut self) -> Result<(), Error> {
        Instruction::End.give(self.trainer.collective())?;
        self.trainer.set_collective(Arc::new(grpo_trainer::Alone));
        Ok(())
    }
}

/// Has the other processes load what this one has loaded.
pub(super) fn lead<T: Truth>(
    folder: &RunFolder,
    trainer: &mut Trainer<Qwen2Policy, T>,
    collective: Arc<dyn Collective>,
) -> Result<(), Error> {
    let path = std::path::absolute(folder.path()).map_err(Error::io(folder.path()))?;
    Instruction::Load { folder: path, steps: trainer.steps() }.give(&*collective)?;
    trainer.set_collective(collective);
    Ok(())
}

/// Does what the first process says until it has nothing more to do, or until a step fails in all of them. After an error, all processes
/// have to be ended. Rewards are computed in the first one, but their names and weights are needed everywhere.
pub fn follow<T: Truth>(
    collective: Arc<dyn Collective>,
    rubric: impl FnOnce(&RunConfig) -> Result<Rubric<T>, Error>,
) -> Result<(), Error> {
    let Instruction::Load { folder, steps } = Instruction::receive(&*collective)? else { return Ok(()) };
    let folder = RunFolder::open(&folder)?;
    let config = folder.config().clone();
    let task: Task<T> = folder.task()?;
    let Loaded { mut trainer, device, .. } =
        of_run(&folder, rubric(&config)?, &config, remote::disconnected)?;
    if steps > 0 {
        let latest = folder.checkpoints(config.execution.keep).latest(steps)?;
        let found = latest.checkpoint.filter(|checkpoint| checkpoint.step == steps);
        let missing = || Error::Damaged {
            path: folder.path().to_owned(),
            reason: format!("this process finds no checkpoint after step {steps}"),
            advice: "all processes must see the same folder",
        };
        trainer = trainer.resume(&found.ok_or_else(missing)?)?.0;
    }
    trainer.set_collective(collective);
    let mut problems = Problems::new(&task, &config).skipping(folder.skipped()).after(&folder, steps)?;
    let followed = guard(device.as_ref(), || {
        loop {
            match Instruction::receive(trainer.collective())? {
                Instruction::Answer { test, subset } => {
                    let problems = test_problems(&trainer, &task.tests[test], subset)?;
                    trainer.answer_share(&problems, &EvaluationOptions::greedy())?;
                }
                Instruction::Step { ahead } => {
                    let (experiences, _) = problems.roll_out(&trainer)?;
                    problems.learn(&mut trainer, &experiences, ahead)?;
                }
                Instruction::Load { .. } | Instruction::End => return Ok(()),
            }
        }
    });
    match followed {
        // The first process has failed, too: it saves what there is, and says what is wrong.
        Err(Error::Trainer(_)) => Ok(()),
        followed => followed,
    }
}
