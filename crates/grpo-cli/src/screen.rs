//! What is shown while a run works: lines, and a progress bar below them.

use std::time::Duration;

use grpo::{Event, Phase, RunConfig};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{display, say, warn};

/// The lines and the progress bar of a run.
pub(crate) struct Screen {
    bar: ProgressBar,
    steps: u64,
    show_every: u64,
    /// Whether a step has been taken, so that the remaining time can be estimated.
    estimates: bool,
    tokens_per_second: Option<f64>,
    /// The command line that resumes the run.
    resume: String,
}

impl Screen {
    pub(crate) fn new(config: &RunConfig, taken: u64, show_every: u64, resume: String) -> Self {
        let steps = config.execution.steps;
        let bar = ProgressBar::new(steps).with_style(style("{elapsed} elapsed")).with_position(taken);
        bar.enable_steady_tick(Duration::from_secs(1));
        Self { bar, steps, show_every, estimates: false, tokens_per_second: None, resume }
    }

    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| say!("{text}"));
    }

    fn note(&self, text: &str) {
        self.bar.suspend(|| warn!("{text}"));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    pub(crate) fn show(&mut self, event: &Event<'_, String>) {
        const LATER: &str = "Training continues; writing is retried after every step.";
        match event {
            Event::Phase(phase) => self.phase(*phase),
            Event::Answered { test, done, of } => {
                self.bar.set_message(format!("evaluating: {test}, {done} of {of}"));
            }
            Event::Evaluated { tests, best } => {
                for evaluated in *tests {
                    self.line(&format!(
                        "After step {}, {} {}: {}",
                        evaluated.step,
                        evaluated.completions.len(),
                        evaluated.test,
                        display::shares(evaluated)
                    ));
                }
                if tests.first().is_some_and(|evaluated| evaluated.step == best.step) {
                    self.line(&format!("That is the best so far by {}.", best.metric));
                }
            }
            Event::Step { metrics, times, experiences, question } => {
                if metrics.step % self.show_every == 0 || metrics.step == 1 {
                    self.line(&display::step(metrics, times, self.steps, experiences, question));
                }
                for diagnosis in &metrics.diagnoses {
                    self.line(&format!("Step {}: {diagnosis}.", metrics.step));
                }
                self.tokens_per_second = Some(times.tokens_per_second);
                if !self.estimates {
                    self.bar.reset_eta();
                    self.bar.set_style(style("{elapsed} elapsed, {eta} left"));
                    self.estimates = true;
                }
                self.bar.set_position(metrics.step);
            }
            Event::Failed(error) => {
                if let Some(problem) = error.problem() {
                    self.note(&format!(
                        "A step failed on problem {problem}. To continue without it:\n  {} --skip-problem {problem}",
                        self.resume
                    ));
                }
            }
            Event::Saved(path) => self.line(&format!("Checkpoint written: {}", path.display())),
            Event::NotRecorded(error) => {
                self.note(&format!("Steps cannot be recorded at the moment: {error}. {LATER}"))
            }
            Event::RecordedAgain => self.note("All steps are recorded again."),
            Event::NotSaved(error) => {
                self.note(&format!("A checkpoint could not be written: {error}. {LATER}"))
            }
            Event::NotSavedAtLast(error) => {
                self.note(&format!("The final checkpoint could not be written: {error}."));
            }
            Event::Rescued { error, folder } => {
                self.note(&format!(
                    "The model could not be saved: {error}. Saving it in {} instead.",
                    folder.display()
                ));
            }
            _ => {}
        }
    }

    fn phase(&self, phase: Phase) {
        let doing = match phase {
            Phase::Evaluating => "evaluating",
            Phase::Sampling => "sampling",
            Phase::Learning => "learning",
            Phase::Saving => "saving",
        };
        let speed = self.tokens_per_second.map(|speed| format!(", {speed:.0} tokens/s"));
        self.bar.set_message(format!("{doing}{}", speed.unwrap_or_default()));
    }
}

fn style(times: &str) -> ProgressStyle {
    let template = format!("{{bar:30}} {{pos}}/{{len}} steps, {{msg}}, {times}");
    ProgressStyle::with_template(&template).expect("the template is valid")
}
