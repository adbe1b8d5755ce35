//! A run in progress as event files for TensorBoard.

use std::path::Path;

use grpo::{Evaluated, Event, Experience, Experiences, Question, Rewarded, Row};
use grpo_export::{EventFile, ExportError};
use serde_json::json;

use crate::{display, warn};

/// Writes the numbers of every step, a sampled completion of it, and held-out shares. If a write fails, it warns, and training continues without TensorBoard.
pub(crate) struct TensorBoard(Option<EventFile>);

impl TensorBoard {
    /// Of a run that has taken `steps` steps.
    pub(crate) fn new(folder: &Path, steps: u64) -> Self {
        let mut tensorboard = Self(None);
        match EventFile::create(&folder.join("tensorboard"), steps + 1) {
            Ok(file) => tensorboard.0 = Some(file),
            Err(error) => tensorboard.fail(&error),
        }
        tensorboard
    }

    pub(crate) fn add(&mut self, event: &Event<'_, Row>) {
        match event {
            Event::Step { metrics, times, experiences, question } => self.write(|file| {
                let tables = [json!(metrics), json!(times)];
                let numbers = tables.iter().filter_map(|table| table.as_object()).flatten();
                let numbers = numbers.filter(|(name, _)| *name != "step");
                let numbers = numbers.filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)));
                file.scalars(metrics.step, numbers)?;
                file.text(metrics.step, "completion", &completion(experiences, question))
            }),
            Event::Evaluated { tests, .. } => self.shares("held_out", *tests),
            _ => {}
        }
    }

    /// Adds the results of an evaluation on all held-out problems.
    pub(crate) fn all_held_out<'a>(&mut self, tests: impl IntoIterator<Item = &'a Evaluated>) {
        self.shares("all_held_out", tests);
    }

    fn shares<'a>(&mut self, tag: &str, tests: impl IntoIterator<Item = &'a Evaluated>) {
        for Evaluated { test, step, rewarded, .. } in tests {
            let named = |reward: &Rewarded| (format!("{tag}/{test}/{}", reward.name), reward.share.value());
            let shares: Vec<(String, f64)> = rewarded.iter().map(named).collect();
            self.write(|file| file.scalars(*step, shares.iter().map(|(tag, share)| (tag.as_str(), *share))));
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut EventFile) -> Result<(), ExportError>) {
        if let Some(Err(error)) = self.0.as_mut().map(write) {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &ExportError) {
        warn!("TensorBoard gets no more of this run: {error}.");
        self.0 = None;
    }
}

/// The first completion of a step, and what it is an answer to.
fn completion(experiences: &Experiences, question: &Question<Row>) -> String {
    let Experience { scored, advantage, .. } = &experiences.groups[0].completions[0];
    format!(
        "Question: {}\nTruth: {}\nReward: {}, advantage: {advantage:.3}\n\n{}",
        display::visible(question.text()),
        display::truth(&question.recorded_truth()),
        scored.scores.total,
        display::visible(&scored.completion.text)
    )
}
