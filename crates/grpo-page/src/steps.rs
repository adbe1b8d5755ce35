//! The completions of a run, step by step.

use std::path::Path;

use grpo_record::{CompletionRecord, Lines, Place, RecordError};
use serde::Serialize;
use serde_json::Value;

use crate::completion::Completion;

/// The completions of a step.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Step {
    pub(crate) step: u64,
    /// Where they begin.
    #[serde(skip)]
    pub(crate) place: Place,
    pub(crate) groups: Vec<Group>,
}

/// The completions of a problem in a step.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Group {
    problem: u64,
    question: String,
    truth: Value,
    prompt: String,
    completions: Vec<Completion>,
}

/// The numbers of a run's completions by which they are found, a column each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Index {
    step: Vec<u64>,
    problem: Vec<u64>,
    truncated: Vec<u8>,
    /// Whether its group has a signal: an advantage that is not 0.
    signal: Vec<u8>,
    /// A column for each of the run's rewards.
    rewards: Vec<Vec<Option<f64>>>,
    lenient: Vec<Option<bool>>,
}

/// Reads the steps of a run one after the other.
pub(crate) struct Steps<'a> {
    lines: Option<Lines>,
    rewards: &'a [String],
    /// The first record of the next step, and where it begins.
    next: Option<(Place, CompletionRecord)>,
}

impl<'a> Steps<'a> {
    /// The steps of a run from some place on.
    pub(crate) fn open(folder: &Path, rewards: &'a [String], place: Place) -> Result<Self, RecordError> {
        let lines = Lines::open(&folder.join("completions.jsonl"), place)?;
        let mut steps = Self { lines, rewards, next: None };
        steps.next = steps.record()?;
        Ok(steps)
    }

    fn record(&mut self) -> Result<Option<(Place, CompletionRecord)>, RecordError> {
        let Some(lines) = &mut self.lines else { return Ok(None) };
        let place = lines.place();
        Ok(lines.read()?.map(|record| (place, record)))
    }

    /// The next step; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, RecordError> {
        let Some((place, first)) = self.next.take() else { return Ok(None) };
        let mut step = Step { step: first.step, place, groups: Vec::new() };
        step.add(first, self.rewards);
        while let Some((place, record)) = self.record()? {
            if record.step != step.step {
                self.next = Some((place, record));
                break;
            }
            step.add(record, self.rewards);
        }
        Ok(Some(step))
    }

    /// Where the next step begins.
    pub(crate) fn place(&self) -> Place {
        let end = || self.lines.as_ref().map_or_else(Place::default, Lines::place);
        self.next.as_ref().map_or_else(end, |(place, _)| *place)
    }
}

impl Step {
    fn add(&mut self, record: CompletionRecord, rewards: &[String]) {
        let completion = Completion::new(&record, rewards);
        let goes_on = |group: &&mut Group| group.problem == record.problem && record.sample > 0;
        match self.groups.last_mut().filter(goes_on) {
            Some(group) => group.completions.push(completion),
            None => {
                let CompletionRecord { problem, question, truth, prompt, .. } = record;
                self.groups.push(Group { problem, question, truth, prompt, completions: vec![completion] });
            }
        }
    }
}

impl Index {
    /// Of no completions, each of which has this many rewards.
    pub(crate) fn new(rewards: usize) -> Self {
        Self {
            step: Vec::new(),
            problem: Vec::new(),
            truncated: Vec::new(),
            signal: Vec::new(),
            rewards: vec![Vec::new(); rewards],
            lenient: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, step: &Step) {
        for group in &step.groups {
            let signal = group.completions.iter().any(|completion| completion.advantage != Some(0.0));
            for completion in &group.completions {
                self.step.push(step.step);
                self.problem.push(group.problem);
                self.truncated.push(completion.is_truncated().into());
                self.signal.push(signal.into());
                self.lenient.push(completion.lenient);
                for (column, reward) in self.rewards.iter_mut().zip(&completion.rewards) {
                    column.push(*reward);
                }
            }
        }
    }

    /// How many completions it has.
    pub(crate) fn completions(&self) -> usize {
        self.step.len()
    }
}
