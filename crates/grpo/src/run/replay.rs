//! Repeats a step of a run using only the run folder.

use std::path::Path;
use std::sync::Arc;

use grpo_reward::Rubric;
use grpo_trainer::{Alone, Collective, Metrics, completion_lines, differences, metrics_line};
use serde_json::Value;

use super::order::Problems;
use super::together::{Instruction, lead};
use super::train::records;
use super::{Loaded, RunFolder, of_run, remote, rewards};
use crate::device::guard;
use crate::{Error, Truth};

/// Repeats a step, and the steps between it and the checkpoint before it, and compares them with the record, byte for byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The step, from 1.
    pub step: u64,
    /// Starts at the beginning of the run instead of at the checkpoint before the step.
    pub from_start: bool,
}

/// A repeated step.
#[derive(Debug)]
pub struct ReplayedStep {
    /// Steps taken before the replay starts.
    pub from: u64,
    /// Its completions, with rewards and advantages, compared with the record.
    pub completions: Compared,
    /// Its metrics, compared with the record.
    pub metrics: Compared,
    /// The same as numbers.
    pub figures: Metrics,
}

/// A comparison of repeated lines with recorded ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Lines in the record.
    pub lines: usize,
    /// Bytes in the record.
    pub bytes: usize,
    /// The first line that differs, from 1, and its differences, each as `loss: 0.5 -> 0.25`; none if all lines are identical.
    pub difference: Option<(usize, Vec<String>)>,
}

impl ReplayedStep {
    /// Whether the record was reproduced.
    pub fn is_same(&self) -> bool {
        self.completions.difference.is_none() && self.metrics.difference.is_none()
    }
}

impl Replay {
    /// Repeats the step of the run in `folder`, whose rewards are `rubric`. Calls `tell` for every repeated step and returns
    /// the last one: the requested step, or the first that differs.
    pub fn run<T: Truth>(
        &self,
        folder: impl AsRef<Path>,
        rubric: Rubric<T>,
        tell: impl FnMut(&ReplayedStep),
    ) -> Result<ReplayedStep, Error> {
        self.run_with(folder, rubric, Arc::new(Alone), tell)
    }

    /// The same for steps that several processes took together: there have to be as many of them again, and the others [`follow`].
    ///
    /// [`follow`]: crate::follow
    pub fn run_with<T: Truth>(
        &self,
        folder: impl AsRef<Path>,
        rubric: Rubric<T>,
        collective: Arc<dyn Collective>,
        mut tell: impl FnMut(&ReplayedStep),
    ) -> Result<ReplayedStep, Error> {
        let folder = RunFolder::open(folder.as_ref())?;
        let metrics = Record::read(&folder, "metrics.jsonl")?;
        let completions = Record::read(&folder, "completions.jsonl")?;
        let last = metrics.lines.last().map_or(0, |(step, _)| *step);
        if self.step == 0 || self.step > last {
            return Err(Error::NoStep { path: folder.path().to_owned(), step: self.step, last });
        }
        let config = folder.config().clone();
        folder.check(&config, &rewards(&config, &rubric))?;
        let task = folder.task()?;
        let Loaded { mut trainer, device, .. } = of_run(&folder, rubric, &config, remote::disconnected)?;
        let before = if self.from_start { 0 } else { self.step - 1 };
        if let Some(checkpoint) = folder.checkpoints(config.execution.keep).latest(before)?.checkpoint {
            trainer = trainer.resume(&checkpoint)?.0;
        }
        let (from, n) = (trainer.steps(), collective.size());
        for step in from + 1..=self.step {
            let processes = folder.process(step).map_or(1, |process| process.processes);
            if processes != n {
                return Err(Error::Processes { path: folder.path().to_owned(), step, processes, found: n });
            }
        }
        lead(&folder, &mut trainer, collective)?;
        let mut problems = Problems::new(&task, &config).skipping(folder.skipped()).after(&folder, from)?;
        loop {
            let step = trainer.steps() + 1;
            let ahead = step < self.step && metrics.lag(step + 1) > 0;
            Instruction::Step { ahead }.give(trainer.collective())?;
            let (experiences, _) = guard(device.as_ref(), || problems.roll_out(&trainer))?;
            let figures = guard(device.as_ref(), || problems.learn(&mut trainer, &experiences, ahead))?;
            let tokens = folder.execution(figures.step).record_tokens;
            let lines = completion_lines(&records(&trainer, &task, &experiences, tokens));
            let completions = completions.compare(figures.step, &lines);
            let metrics = metrics.compare(figures.step, &metrics_line(&figures));
            let step = ReplayedStep { from, completions, metrics, figures };
            tell(&step);
            if step.figures.step == self.step || !step.is_same() {
                Instruction::End.give(trainer.collective())?;
                return Ok(step);
            }
        }
    }
}

/// A file whose lines name their step.
pub(super) struct Record {
    /// Steps and their lines, in the order of the file.
    pub(super) lines: Vec<(u64, String)>,
}

impl Record {
    pub(super) fn read(folder: &RunFolder, name: &str) -> Result<Self, Error> {
        let path = folder.path().join(name);
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let line = |(number, line): (usize, &str)| {
            let step = serde_json::from_str::<Value>(line).ok().and_then(|value| value["step"].as_u64());
            let damaged = || Error::Damaged {
                path: path.clone(),
                reason: format!("line {} has no step", number + 1),
                advice: "restore it",
            };
            Ok((step.ok_or_else(damaged)?, line.to_string() + "\n"))
        };
        // The last line may be incomplete.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(Self { lines: whole.lines().enumerate().map(line).collect::<Result<_, Error>>()? })
    }

    fn of_step(&self, step: u64) -> String {
        self.lines.iter().filter(|(of, _)| *of == step).map(|(_, line)| line.as_str()).collect()
    }

    /// The lag of a step's samples; 0 if the step is not in the record.
    fn lag(&self, step: u64) -> u64 {
        let line = self.lines.iter().find(|(of, _)| *of == step);
        let metrics = line.and_then(|(_, line)| serde_json::from_str::<Value>(line).ok());
        metrics.and_then(|metrics| metrics["sampling/lag"].as_u64()).unwrap_or(0)
    }

    fn compare(&self, step: u64, repeated: &str) -> Compared {
        let recorded = self.of_step(step);
        let (lines, bytes) = (recorded.lines().count(), recorded.len());
        if recorded == repeated {
            return Compared { lines, bytes, difference: None };
        }
        let n = lines.max(repeated.lines().count());
        let of = |text: &str, i: usize| text.lines().nth(i).map(str::to_string);
        let line = (0..n).find(|i| of(&recorded, *i) != of(repeated, *i)).unwrap_or(n);
        // Where one has fewer lines, the others differ from nothing.
        let [then, now] =
            [of(&recorded, line), of(repeated, line)].map(|line| line.unwrap_or("{}".to_string()));
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default();
        Compared { lines, bytes, difference: Some((line + 1, differences(&parse(&then), &parse(&now)))) }
    }
}
