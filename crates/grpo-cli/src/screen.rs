//! What is shown while a run works: lines, and on a terminal a display below them.

use std::time::Duration;

use console::Term;
use grpo::{Event, Metrics, Phase, Row, ServerReport, Times};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::args::DisplayArgs;
use crate::{display, output, say, warn};

/// The lines and the display of a run.
pub(crate) struct Screen {
    bar: ProgressBar,
    steps: u64,
    /// Every how many steps one is printed; none if it is never.
    show_every: Option<u64>,
    /// Whether steps are printed as JSON.
    json: bool,
    /// The mean reward of every recorded step.
    rewards: Vec<(u64, f64)>,
    /// Seconds of each step of this process, from which the remaining time is estimated.
    times: Vec<f64>,
    /// The command line that resumes the run.
    resume: String,
    /// What each server has sampled for the newest step.
    servers: Vec<ServerReport>,
}

impl DisplayArgs {
    /// Leaves out lines that are not wanted.
    pub(crate) fn apply(&self) {
        if self.quiet || self.json {
            output::silence();
        }
    }
}

impl Screen {
    /// Of a run that has taken `taken` of `steps` steps, some of which had these rewards. Where steps are printed, it is every
    /// `by_default` unless the options say otherwise.
    pub(crate) fn new(
        (taken, steps): (u64, u64),
        rewards: Vec<(u64, f64)>,
        options: &DisplayArgs,
        by_default: u64,
        resume: String,
    ) -> Self {
        let bar = if options.quiet || options.json { ProgressBar::hidden() } else { ProgressBar::new(steps) };
        let is_live = !bar.is_hidden() && Term::stdout().is_term();
        let bar = bar.with_style(style("{elapsed} elapsed")).with_position(taken);
        bar.enable_steady_tick(Duration::from_secs(1));
        output::keep_below(Some(bar.clone()));
        let show_every = options.show_every.or((!is_live).then_some(by_default));
        Self {
            bar,
            steps,
            show_every,
            json: options.json,
            rewards,
            times: Vec::new(),
            resume,
            servers: Vec::new(),
        }
    }

    /// Takes the display away; returns the mean reward of every step.
    pub(crate) fn finish(self) -> Vec<f64> {
        output::keep_below(None);
        self.bar.finish_and_clear();
        self.rewards.into_iter().map(|(_, reward)| reward).collect()
    }

    pub(crate) fn show(&mut self, event: &Event<'_, Row>) {
        const LATER: &str = "Training continues; writing is retried after every step.";
        match event {
            Event::Phase(phase) => self.phase(*phase),
            Event::Answered { test, done, of } => {
                self.bar.set_message(format!("evaluating: {test}, {done} of {of}"));
            }
            Event::Evaluated { tests, best } => {
                for evaluated in *tests {
                    say!(
                        "After step {}, {} {}: {}",
                        evaluated.step,
                        evaluated.completions.len(),
                        evaluated.test,
                        display::shares(evaluated)
                    );
                }
                if tests.first().is_some_and(|evaluated| evaluated.step == best.step) {
                    say!("That is the best so far by {}.", best.metric);
                }
            }
            Event::Servers(reports) => self.servers = reports.to_vec(),
            Event::Step { metrics, times, experiences, question } => {
                self.step(metrics, times);
                if self.show_every.is_some_and(|n| metrics.step % n == 0 || metrics.step == 1) {
                    say!("{}", display::step(metrics, times, self.steps, experiences, question));
                    for server in &self.servers {
                        say!("{}", display::server(server, times));
                    }
                }
                for diagnosis in &metrics.diagnoses {
                    warn!("Step {}: {diagnosis}.", metrics.step);
                }
            }
            Event::Failed(error) => {
                if let Some(problem) = error.problem() {
                    warn!(
                        "A step failed on problem {problem}. To continue without it:\n  {} --skip-problem {problem}",
                        self.resume
                    );
                }
            }
            Event::Saved(path) => say!("Checkpoint written: {}", path.display()),
            Event::NotRecorded(error) => {
                warn!("Steps cannot be recorded at the moment: {error}. {LATER}")
            }
            Event::RecordedAgain => warn!("All steps are recorded again."),
            Event::NotSaved(error) => {
                warn!("A checkpoint could not be written: {error}. {LATER}")
            }
            Event::NotSavedAtLast(error) => {
                warn!("The final checkpoint could not be written: {error}.");
            }
            Event::Rescued { error, folder } => {
                warn!("The model could not be saved: {error}. Saving it in {} instead.", folder.display());
            }
            _ => {}
        }
    }

    /// Takes a step's numbers into the display.
    fn step(&mut self, metrics: &Metrics, times: &Times) {
        if self.json {
            let mut step = json!(metrics);
            if let (Some(step), Some(times)) = (step.as_object_mut(), json!(times).as_object()) {
                step.extend(times.clone());
            }
            output::data_line(format_args!("{step}"));
        }
        self.rewards.push((metrics.step, metrics.reward));
        self.times.push(times.step_time);
        let mean = self.times.iter().sum::<f64>() / self.times.len() as f64;
        let left =
            Duration::from_secs_f64((mean * self.steps.saturating_sub(metrics.step) as f64).clamp(0.0, 1e9));
        self.bar.set_style(style(&format!("{{elapsed}} elapsed, {:#} left", HumanDuration(left))));
        let servers = self.servers.iter().map(|server| format!("\n{}", display::server(server, times)));
        self.bar.set_prefix(display::figures(metrics, times, &self.rewards) + &servers.collect::<String>());
        self.bar.set_position(metrics.step);
    }

    fn phase(&self, phase: Phase) {
        let doing = match phase {
            Phase::Evaluating => "evaluating",
            Phase::Sampling => "sampling",
            Phase::Learning => "learning",
            Phase::Saving => "saving",
        };
        self.bar.set_message(doing);
    }
}

fn style(times: &str) -> ProgressStyle {
    let template = format!("{{bar:20}} {{pos}}/{{len}} steps, {{msg}}, {times}{{prefix}}");
    ProgressStyle::with_template(&template).expect("the template is valid")
}
