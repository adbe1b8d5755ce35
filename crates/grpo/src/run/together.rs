//! Several processes that train together. The first one leads: it has the run and its folder, and tells the others what to do. The
//! others read the folder and write nothing.

use std::path::PathBuf;
use std::sync::Arc;

use grpo_reward::Rubric;
use grpo_trainer::{Collective, EvaluationOptions, TrainerError};
use serde::{Deserialize, Serialize};

use super::evaluate::test_problems;
use super::order::Problems;
use super::{Loaded, Run, RunFolder, of_run, remote};
use crate::device::guard;
use crate::{Error, RunConfig, Task, Truth};

/// What the first process tells the others to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Load the run in a folder, after this many steps.
    Load { folder: PathBuf, steps: u64 },
    /// Answer a share of a test, or of a subset of it.
    Answer { test: usize, subset: Option<usize> },
    /// Take a step, and sample the next one ahead or not.
    Step { ahead: bool },
    /// There is nothing more to do.
    End,
}

impl Order {
    /// Gives the order, if there is anybody to give it to.
    pub(super) fn give(self, collective: &dyn Collective) -> Result<(), TrainerError> {
        collective.first(|| Ok(self)).map(|_: Self| ())
    }

    fn receive(collective: &dyn Collective) -> Result<Self, TrainerError> {
        collective.first(|| Ok(Self::End))
    }
}

impl<T: Truth> Run<T> {
    /// Shares the work of evaluations and steps from here on with other processes, which [`follow`]. This one must be the first.
    /// They must see the run's folder under the same path.
    pub fn share(&mut self, collective: Arc<dyn Collective>) -> Result<(), Error> {
        let folder = std::path::absolute(self.folder.path()).map_err(Error::io(self.folder.path()))?;
        Order::Load { folder, steps: self.trainer.steps() }.give(&*collective)?;
        self.trainer.join(collective);
        Ok(())
    }

    /// Lets the other processes go.
    pub fn dismiss(&mut self) -> Result<(), Error> {
        Order::End.give(self.trainer.collective())?;
        self.trainer.join(Arc::new(grpo_trainer::Alone));
        Ok(())
    }
}

/// Does what the first process says until it has nothing more to do. Rewards are computed there, but their names and weights
/// are needed everywhere.
pub fn follow<T: Truth>(
    collective: Arc<dyn Collective>,
    rubric: impl FnOnce(&RunConfig) -> Result<Rubric<T>, Error>,
) -> Result<(), Error> {
    let Order::Load { folder, steps } = Order::receive(&*collective)? else { return Ok(()) };
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
    trainer.join(collective);
    let mut problems = Problems::new(&task, &config).skipping(folder.skipped()).after(&folder, steps)?;
    guard(device.as_ref(), || {
        loop {
            match Order::receive(trainer.collective())? {
                Order::Answer { test, subset } => {
                    let problems = test_problems(&trainer, &task.tests[test], subset)?;
                    trainer.answer_share(&problems, &EvaluationOptions::greedy())?;
                }
                Order::Step { ahead } => {
                    let (experiences, _) = problems.roll_out(&trainer)?;
                    problems.learn(&mut trainer, &experiences, ahead)?;
                }
                Order::Load { .. } | Order::End => return Ok(()),
            }
        }
    })
}
