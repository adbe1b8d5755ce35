//! Evaluations during training, and the best checkpoint.

use std::fs;

use grpo_reward::Rubric;
use grpo_rollout::InvalidOption;
use grpo_trainer::{EVALUATIONS, Proportion};

use super::{Evaluated, RunFolder};
use crate::{Error, ExecutionConfig, Task};

/// The evaluations of a run so far.
pub(super) struct PeriodicEvaluations {
    every: Option<u64>,
    /// The reward that decides which is the best.
    metric: String,
    /// The step of the latest evaluation.
    latest: Option<u64>,
    best: Option<Best>,
}

/// The best evaluation of a run so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// Steps taken before it.
    pub step: u64,
    /// The reward that decides.
    pub metric: String,
    /// The share of completions that earned more than 0 from it.
    pub share: Proportion,
    /// Problems that were answered; the reward may have abstained on some.
    pub problems: usize,
}

impl PeriodicEvaluations {
    /// The evaluations in the record of a run. Only one that has a checkpoint can be the best.
    pub(super) fn read(
        folder: &RunFolder,
        execution: &ExecutionConfig,
        first_reward: Option<&str>,
    ) -> Result<Self, Error> {
        let metric = execution.best_metric.as_deref().or(first_reward).unwrap_or_default();
        let mut evaluations =
            Self { every: execution.eval_every, metric: metric.to_string(), latest: None, best: None };
        let checkpoints = folder.checkpoints(execution.keep);
        let file = folder.path().join(EVALUATIONS);
        let text = fs::read_to_string(&file).map_err(Error::io(&file))?;
        for line in text.lines() {
            let of_step: Vec<Evaluated> = serde_json::from_str(line).map_err(|e| Error::Damaged {
                path: file.clone(),
                reason: e.to_string(),
                advice: "restore it",
            })?;
            if evaluations.add(&of_step) && of_step.iter().any(|e| checkpoints.find(e.step).is_some()) {
                evaluations.set_best(&of_step);
            }
        }
        Ok(evaluations)
    }

    /// Whether there is to be an evaluation after `step` steps.
    pub(super) fn is_due(&self, step: u64) -> bool {
        step > 0 && self.every.is_some_and(|every| step.is_multiple_of(every)) && self.latest != Some(step)
    }

    /// Adds an evaluation, and returns whether it is better than the best one, or is of other problems.
    pub(super) fn add(&mut self, of_step: &[Evaluated]) -> bool {
        let Some(first) = of_step.first() else { return false };
        self.latest = Some(first.step);
        let share = self.share(of_step);
        let is_better =
            |best: &Best| best.problems != first.completions.len() || share.value() > best.share.value();
        self.best.as_ref().is_none_or(is_better)
    }

    /// Makes an evaluation the best one.
    pub(super) fn set_best(&mut self, of_step: &[Evaluated]) {
        let Some(first) = of_step.first() else { return };
        let share = self.share(of_step);
        let problems = first.completions.len();
        self.best = Some(Best { step: first.step, metric: self.metric.clone(), share, problems });
    }

    /// The share that decides: that of the first test.
    fn share(&self, of_step: &[Evaluated]) -> Proportion {
        let share = of_step.first().and_then(|first| first.share(&self.metric));
        share.unwrap_or(Proportion { successes: 0, trials: 0 })
    }

    pub(super) fn best(&self) -> Option<&Best> {
        self.best.as_ref()
    }
}

/// Checks the settings of evaluations against what there is to evaluate.
pub(super) fn check<T>(execution: &ExecutionConfig, task: &Task<T>, rubric: &Rubric<T>) -> Result<(), Error> {
    let ExecutionConfig { eval_every, best_metric, .. } = execution;
    if let Some(every) = eval_every.filter(|_| task.tests.is_empty()) {
        let expected = "there are no held-out problems: set eval_problems";
        return Err(InvalidOption::new("eval_every", every, expected).into());
    }
    match best_metric {
        Some(metric) if !rubric.names().any(|name| name == metric) => {
            let names: Vec<&str> = rubric.names().collect();
            let reason =
                format!("best_metric is {metric}, but the rewards are {}: choose one", names.join(", "));
            Err(Error::Contradiction(reason))
        }
        _ => Ok(()),
    }
}
