//! The training loop of a run.

use std::path::PathBuf;
use std::time::Instant;

use grpo_trainer::{
    CompletionRecord, Experience, Experiences, Qwen2Policy, Scored, Times, TokenRecord, Trainer,
};

use super::evaluate::{evaluate, problem_text};
use super::folder::{BEFORE, EVALUATION};
use super::order::Problems;
use super::periodic::PeriodicEvaluations;
use super::saver::{Saver, save_model};
use super::together::Instruction;
use super::{Best, Comparison, Evaluated, Event, Phase, Run};
use crate::device::guard;
use crate::{Error, Task, Test, Truth};

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Whether all steps were taken and all tests answered; otherwise the run was interrupted.
    pub finished: bool,
    /// Steps taken so far.
    pub steps: u64,
    /// The folder of the trained model, in Hugging Face layout; none if it was interrupted before the first step.
    pub model: Option<PathBuf>,
    /// The folder of the trained adapters, in PEFT format.
    pub adapter: Option<PathBuf>,
    /// The tests before and after training; empty if there are none, or if the run was interrupted.
    pub comparisons: Vec<Comparison>,
    /// The best of the evaluations during training, and its checkpoint, if there were any.
    pub best: Option<(Best, PathBuf)>,
}

impl<T: Truth> Run<T> {
    /// Answers the held-out problems before training, or reads the earlier results; none if interrupted.
    pub fn evaluate_before(
        &mut self,
        mut tell: impl FnMut(Event<'_, T>),
    ) -> Result<Option<Vec<Evaluated>>, Error> {
        if let Some(before) = self.read_before()? {
            return Ok(Some(before));
        }
        if self.trainer.steps() > 0 {
            tracing::warn!("{BEFORE} is missing, so there is no comparison with the model before training");
            return Ok(Some(Vec::new()));
        }
        let work = || evaluate(&self.trainer, &self.task.tests, None, &self.interrupt, &mut tell);
        let before = guard(self.folder.device(), work)?;
        if let Some(before) = &before {
            self.folder.write_json(BEFORE, before)?;
        }
        Ok(before)
    }

    /// Takes all remaining steps, unless it is [interrupted](Run::interrupt); evaluates before and after, and saves the
    /// model. The trained model is saved even if a step fails, but not if its device does.
    pub fn train(&mut self, mut tell: impl FnMut(Event<'_, T>)) -> Result<Outcome, Error> {
        let device = self.folder.device().cloned();
        guard(device.as_ref(), || self.train_to_the_end(&mut tell))
    }

    fn train_to_the_end(&mut self, tell: &mut dyn FnMut(Event<'_, T>)) -> Result<Outcome, Error> {
        let Some(before) = self.evaluate_before(&mut *tell)? else {
            return Ok(Outcome {
                finished: false,
                steps: self.trainer.steps(),
                model: None,
                adapter: None,
                comparisons: Vec::new(),
                best: None,
            });
        };
        let first_reward = self.trainer.rubric().names().next();
        let mut evaluations = PeriodicEvaluations::read(&self.folder, &self.config.execution, first_reward)?;
        let finished = self.steps(&mut evaluations, tell);
        // What was trained before an error is worth keeping; of two errors, the first is the cause.
        let saved = match self.trainer.steps() {
            0 => None,
            _ => Some(save_model(self.trainer.policy(), &self.folder, tell)),
        };
        let finished = finished?;
        let (model, adapter) =
            saved.transpose()?.map_or((None, None), |(model, adapter)| (Some(model), adapter));
        let after = if finished {
            evaluate(&self.trainer, &self.task.tests, None, &self.interrupt, tell)?
        } else {
            None
        };
        let (finished, steps) = (after.is_some(), self.trainer.steps());
        let pairs = before.into_iter().zip(after.unwrap_or_default());
        let comparisons: Vec<Comparison> =
            pairs.map(|(before, after)| Comparison { before, after }).collect();
        if !comparisons.is_empty() {
            self.folder.write_json(EVALUATION, &comparisons)?;
        }
        let checkpoints = self.folder.checkpoints(self.config.execution.keep);
        let best = evaluations.best().and_then(|best| Some((best.clone(), checkpoints.find(best.step)?)));
        Ok(Outcome { finished, steps, model, adapter, comparisons, best })
    }

    /// The evaluation before training, if there is one.
    fn read_before(&self) -> Result<Option<Vec<Evaluated>>, Error> {
        let Some(before) = self.folder.read_json::<Vec<Evaluated>>(BEFORE)? else { return Ok(None) };
        let names = || self.trainer.rubric().names();
        let is_of = |(evaluated, test): (&Evaluated, &Test<T>)| {
            evaluated.rewarded.iter().map(|reward| reward.name.as_str()).eq(names())
                && evaluated.completions.len() == test.questions.len()
                && evaluated.completions.iter().all(|c| names().all(|name| c.rewards.contains_key(name)))
        };
        let tests = &self.task.tests;
        if before.len() == tests.len() && before.iter().zip(tests).all(is_of) {
            return Ok(Some(before));
        }
        Err(Error::Damaged {
            path: self.folder.path().join(BEFORE),
            reason: "it is not about the run's held-out problems and rewards".to_string(),
            advice: "restore it",
        })
    }

    /// Takes all steps and returns `true`, or stops at an interrupt.
    fn steps(
        &mut self,
        evaluations: &mut PeriodicEvaluations,
        tell: &mut dyn FnMut(Event<'_, T>),
    ) -> Result<bool, Error> {
        let Self { folder, config, task, trainer, fleet, log, interrupt, .. } = self;
        let execution = &config.execution;
        let mut problems =
            Problems::new(task, config).skipping(folder.skipped()).after(folder, trainer.steps())?;
        let mut checkpoints = folder.checkpoints(execution.keep);
        if let Some(best) = evaluations.best() {
            checkpoints.keep_best(best.step);
        }
        let mut saver = Saver::new(log, checkpoints, execution.save_every, trainer.steps());
        loop {
            if evaluations.is_due(trainer.steps()) {
                let subset = Some(execution.eval_subset);
                let evaluated = evaluate(trainer, &task.tests, subset, interrupt, tell);
                let Some(tests) =
                    evaluated.inspect_err(|failure| saver.save_at_last(trainer, failure, tell))?
                else {
                    saver.save(trainer, tell)?;
                    return Ok(false);
                };
                saver.record_evaluation(&tests, tell);
                if evaluations.add(&tests) && saver.save_best(trainer, tell) {
                    evaluations.set_best(&tests);
                }
                if let Some(best) = evaluations.best() {
                    tell(Event::Evaluated { tests: &tests, best });
                }
            }
            if trainer.steps() >= execution.steps {
                break;
            }
            if interrupt.is_requested() {
                saver.save(trainer, tell)?;
                return Ok(false);
            }
            tell(Event::Phase(Phase::Sampling));
            let ahead = config.algorithm.lag > 0 && trainer.steps() + 1 < execution.steps;
            let ordered = Instruction::Step { ahead }.give(trainer.collective()).map_err(Error::from);
            let rolled_out = ordered.and_then(|()| problems.roll_out(trainer));
            let (experiences, times) =
                rolled_out.inspect_err(|failure| saver.save_at_last(trainer, failure, tell))?;
            tell(Event::Phase(Phase::Learning));
            let start = Instant::now();
            // No checkpoint here: there may have been updates of a step that was not finished.
            let learned = problems.learn(trainer, &experiences, ahead);
            let metrics = learned.inspect_err(|error| tell(Event::Failed(error)))?;
            let times = Times {
                memory_device: trainer.device_memory(),
                ..Times::new(times, experiences.tokens, start.elapsed())
            };
            if let Some(fleet) = fleet {
                tell(Event::Servers(&fleet.report()));
            }
            let records = records(trainer, task, &experiences, execution.record_tokens);
            saver.record(&metrics, &times, &records, tell);
            let question = &task.train[experiences.groups[0].problem as usize];
            tell(Event::Step { metrics: &metrics, times: &times, experiences: &experiences, question });
            saver.save_if_due(trainer, tell);
        }
        saver.save(trainer, tell)?;
        Ok(true)
    }
}

/// The last step's completions in the form of the record, with their tokens if those are recorded.
pub(super) fn records<T: Truth>(
    trainer: &Trainer<Qwen2Policy, T>,
    task: &Task<T>,
    experiences: &Experiences,
    tokens: bool,
) -> Vec<CompletionRecord> {
    let policy = trainer.policy();
    let text = |problem: u64| problem_text(&task.train[problem as usize], policy);
    let mut records = CompletionRecord::of_step(trainer.steps(), experiences, trainer.rubric(), text);
    if tokens {
        for (record, Experience { scored: Scored { sample, .. }, .. }) in
            records.iter_mut().zip(experiences.iter())
        {
            record.token_record = Some(TokenRecord::new(&policy.text.lengths(&sample.tokens), sample));
        }
    }
    records
}
