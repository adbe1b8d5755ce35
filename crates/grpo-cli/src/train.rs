//! The training commands and their output.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use grpo::{
    Checks, Collective, Hub, Interrupt, Outcome, Preflight, Prepared, Row, Rubric, Run, RunConfig, RunFolder,
    Settings, Task, peak_memory, resolve_model,
};
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{ConfigArgs, DisplayArgs, TrainArgs};
use crate::screen::Screen;
use crate::tensorboard::TensorBoard;
use crate::{display, processes, say, summary, warn};

/// The program that trains.
pub struct Program {
    /// The command line that starts a run.
    pub train: &'static str,
    /// The command line that resumes a run, without the folder.
    pub resume: &'static str,
    /// The command line that shows a run in a browser, without the folder.
    pub view: &'static str,
    /// What to train if no model is given; if there is no fallback, that is an error.
    pub fallback: Option<fn(&Settings) -> anyhow::Result<Fallback>>,
}

/// What to train if no model is given.
pub struct Fallback {
    /// Its settings, which user settings override.
    pub settings: Settings,
    /// Its problems, given the configuration.
    pub task: fn(&RunConfig) -> anyhow::Result<Task<Row>>,
    /// A description.
    pub subject: &'static str,
    /// Show every n-th step.
    pub show_every: u64,
    /// What to try next.
    pub next: String,
}

/// A run's options, resolved.
struct Begin {
    fallback: Option<Fallback>,
    config: RunConfig,
    task: Task<Row>,
    rubric: Rubric<Row>,
    checks: Checks,
}

impl Begin {
    fn new(args: &ConfigArgs, program: &Program) -> anyhow::Result<Self> {
        let settings = args.settings()?;
        let fallback = match program.fallback {
            Some(fallback) if !settings.has("task.model") => Some(fallback(&settings)?),
            _ => None,
        };
        let config = match &fallback {
            Some(fallback) => fallback.settings.clone().then(settings).config()?,
            None => settings.config()?,
        };
        config.validate()?;
        let rubric = config.task.rubric()?;
        let task = match &fallback {
            Some(fallback) => (fallback.task)(&config)?,
            None => {
                let hub = Hub::from_env()?.with_progress(show_transfer());
                // What is downloaded here, with a progress bar, is found again in the cache.
                resolve_model(&config.task.model, &hub)?;
                Task::load(&config.task, &hub)?
            }
        };
        let task = task.with_marks(config.task.marks());
        Ok(Self {
            fallback,
            config,
            task,
            rubric,
            checks: Checks { audit: !args.no_audit, ..Checks::default() },
        })
    }
}

/// Starts a run on word problems, and trains.
pub fn train(args: &TrainArgs, program: &Program) -> anyhow::Result<ExitCode> {
    args.display.apply();
    let collective = processes::join()?;
    if collective.rank() > 0 {
        return follow(collective);
    }
    let out = args.out.clone().unwrap_or_else(|| new_folder("runs"));
    if out.exists() {
        // Before downloading and loading anything.
        RunFolder::check_free(&out)?;
    }
    let Begin { fallback, config, task, rubric, checks } = Begin::new(&args.config, program)?;
    let run = Run::begin(&out, config, task, rubric, &checks)?;
    Session { program, fallback, display: &args.display, run, collective }.train(!args.no_preflight)
}

/// Trains with the first process, which shows the warnings.
pub(crate) fn follow(collective: Arc<dyn Collective>) -> anyhow::Result<ExitCode> {
    let _silent = tracing_subscriber::registry().set_default();
    grpo::follow(collective, |config| Ok(config.task.rubric()?))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows a model's rewards before training and the resources a run needs; writes nothing.
pub fn preflight(args: &ConfigArgs, program: &Program) -> anyhow::Result<ExitCode> {
    let Begin { config, task, rubric, checks, .. } = Begin::new(args, program)?;
    let steps = config.execution.steps;
    let prepared = Prepared::new(config, task, rubric, &checks)?;
    say!("{}", prepared.plan());
    show_preflight(&prepared.preflight(PREFLIGHT, Duration::MAX)?);
    let step = prepared.time_step()?;
    let all = Duration::from_secs_f64((step.as_secs_f64() * steps as f64).min(1e9));
    say!("{:.1} s per step: {} for {steps} steps", step.as_secs_f64(), HumanDuration(all));
    Ok(ExitCode::SUCCESS)
}

/// Problems answered in the preflight.
const PREFLIGHT: usize = 32;
/// Approximate time limit for the preflight at the start of a run.
const BRIEFLY: Duration = Duration::from_secs(20);

fn show_preflight(preflight: &Preflight) {
    say!("Preflight: {preflight}");
    if let Some(obstacle) = preflight.obstacle() {
        warn!("Warning: {obstacle}.");
    }
}

/// Resumes the run in a folder with other execution settings, and trains.
pub fn resume(
    folder: &Path,
    settings: &Settings,
    skip: &[u64],
    display: &DisplayArgs,
    program: &Program,
) -> anyhow::Result<ExitCode> {
    display.apply();
    let collective = processes::join()?;
    if collective.rank() > 0 {
        return follow(collective);
    }
    let rubric = RunFolder::read_config(folder)?.task.rubric()?;
    let run = Run::resume(folder, settings, rubric, skip)?;
    let (steps, of) = (run.trainer().steps(), run.config().execution.steps);
    match steps {
        _ if steps == of => say!("The run has taken all {of} steps: raise --steps to continue it."),
        0 => say!("There is no checkpoint yet: starting from step 1."),
        _ => say!("Resuming after step {steps} of {of}."),
    }
    Session { program, fallback: None, display, run, collective }.train(false)
}

/// A run and its display.
struct Session<'a> {
    program: &'a Program,
    fallback: Option<Fallback>,
    display: &'a DisplayArgs,
    run: Run<Row>,
    /// The processes that train with this one.
    collective: Arc<dyn Collective>,
}

impl Session<'_> {
    fn train(mut self, preflight: bool) -> anyhow::Result<ExitCode> {
        let config = self.run.config().clone();
        say!("{}", self.heading(&config));
        say!("{}", self.run.plan());
        if self.collective.size() == 1 {
            on_interrupt(self.run.interrupt())?;
        }
        if preflight {
            match self.run.preflight(PREFLIGHT, BRIEFLY) {
                Ok(preflight) => show_preflight(&preflight),
                Err(error) => warn!("Warning: the preflight failed: {error}."),
            }
        }
        self.run.share(self.collective.clone())?;
        let resume = self.resume();
        let rewards = rewards(self.run.folder().path());
        let taken = self.run.trainer().steps();
        let by_default = self.fallback.as_ref().map_or(1, |fallback| fallback.show_every);
        let mut screen =
            Screen::new((taken, config.execution.steps), rewards, self.display, by_default, resume);
        let tensorboard = || TensorBoard::new(self.run.folder().path(), taken);
        let mut tensorboard = self.display.tensorboard.then(tensorboard);
        let before = self.run.evaluate_before(|event| screen.show(&event))?;
        // A run that is resumed has it in an earlier file.
        if let Some(tensorboard) = tensorboard.as_mut().filter(|_| taken == 0) {
            tensorboard.all_held_out(before.iter().flatten());
        }
        for evaluated in before.iter().flatten() {
            say!("Before training, {}: {}", evaluated.test, display::shares(evaluated));
        }
        let outcome = self.run.train(|event| {
            if let Some(tensorboard) = &mut tensorboard {
                tensorboard.add(&event);
            }
            screen.show(&event);
        });
        let rewards = screen.finish();
        let outcome = outcome?;
        self.run.dismiss()?;
        if let Some(tensorboard) = &mut tensorboard {
            tensorboard.all_held_out(outcome.comparisons.iter().map(|comparison| &comparison.after));
        }
        self.show(&outcome, &rewards)?;
        Ok(ExitCode::SUCCESS)
    }

    fn heading(&self, config: &RunConfig) -> String {
        let subject = match &self.fallback {
            Some(fallback) => fallback.subject.to_string(),
            None => format!("{} on {}", config.task.model, config.task.dataset),
        };
        let task = self.run.task();
        let held_out: usize = task.tests.iter().map(|test| test.questions.len()).sum();
        let problems = match held_out {
            0 => format!("{} problems", task.train.len()),
            n => format!("{} problems, {n} held out", task.train.len()),
        };
        let process = self.run.folder().processes().last();
        let info = process.and_then(|process| process.machine.device.as_ref());
        let device = info.map_or("CPU".to_string(), |info| format!("{} ({})", info.name, info.kind.label()));
        let mut heading =
            format!("{subject} ({problems}), {}; files in {}", device, self.run.folder().path().display());
        if let (n @ 2.., Some(process)) = (self.collective.size(), process) {
            let threads = process.machine.threads;
            heading += &format!(
                "\n{n} processes, this one with {threads} CPU threads; the memory below is for each"
            );
        }
        heading += &format!("\n{}", what_is_trained(config));
        heading += &format!(
            "\nTo watch it in a browser:\n  {} '{}'",
            self.program.view,
            self.run.folder().path().display()
        );
        heading
    }

    /// The command line that resumes the run.
    fn resume(&self) -> String {
        let tensorboard = if self.display.tensorboard { " --tensorboard" } else { "" };
        format!("{} '{}'{tensorboard}", self.program.resume, self.run.folder().path().display())
    }

    /// Shows the result.
    fn show(&self, outcome: &Outcome, rewards: &[f64]) -> anyhow::Result<()> {
        let steps = self.run.config().execution.steps;
        if !outcome.finished {
            say!("Interrupted after step {} of {steps}.", outcome.steps);
        }
        if !rewards.is_empty() {
            say!("\n{}", summary::plot(rewards));
        }
        if let Some(first) = outcome.comparisons.first() {
            say!("{}\n", summary::table(&outcome.comparisons));
            let (i, why) = summary::example(first);
            let (before, after) = (&first.before.completions[i], &first.after.completions[i]);
            say!(
                "{why}: {}\nGold answer: {}",
                display::visible(&before.text.question),
                display::truth(&before.text.truth)
            );
            say!("{}", summary::side_by_side(&before.completion, &after.completion));
        }
        say!("\n{}", self.farewell(outcome));
        Ok(())
    }

    /// Where to find everything, and what to do next.
    fn farewell(&self, outcome: &Outcome) -> String {
        let train = self.program.train;
        let folder = self.run.folder().path();
        let mut lines =
            vec![format!("Description of the run's files: {}", folder.join("README.md").display())];
        if let Some(model) = &outcome.model {
            lines.push(format!("Model, in Hugging Face layout: {}", model.display()));
        }
        if let Some(adapter) = &outcome.adapter {
            lines.push(format!("Adapters, in PEFT format: {}", adapter.display()));
        }
        if let Some((best, checkpoint)) = &outcome.best {
            lines.push(format!(
                "Best checkpoint, after step {} ({} {}): {}",
                best.step,
                best.metric,
                best.share,
                checkpoint.display()
            ));
        }
        if let Some(peak) = peak_memory() {
            lines.push(format!("Peak memory: {:.2} GiB", peak as f64 / f64::from(1 << 30)));
        }
        if !outcome.finished {
            lines.push(format!("To resume the run:\n  {}", self.resume()));
        }
        if let Some(model) = &outcome.model {
            let config = self.run.config();
            let seed = config.algorithm.seed.wrapping_add(1);
            // The adapters that the run began with are merged into the saved model.
            let adapter = if config.task.adapter.is_some() { " adapter=none" } else { "" };
            lines.push(format!(
                "To continue from the saved model as the new reference, with the problems in another order:\n  \
                 {train} --config '{}' --model '{}' --seed {seed}{adapter}",
                folder.join("config.toml").display(),
                model.display()
            ));
        }
        lines.extend(self.fallback.as_ref().map(|fallback| fallback.next.clone()));
        lines.join("\n")
    }
}

/// The numbers that decide most.
fn what_is_trained(config: &RunConfig) -> String {
    let RunConfig { algorithm, policy, .. } = config;
    let weights = match &policy.lora {
        Some(lora) => {
            let targets: Vec<&str> = lora.targets.iter().map(|target| target.name()).collect();
            format!("adapters of rank {} (alpha {}; {})", lora.rank, lora.alpha, targets.join(", "))
        }
        None => "all weights".to_string(),
    };
    format!("Training {weights} at learning rate {:e}, seed {}", algorithm.learning_rate, algorithm.seed)
}

/// The mean reward of every recorded step; none if the record cannot be read.
fn rewards(folder: &Path) -> Vec<(u64, f64)> {
    let Ok(record) = grpo_record::Run::read(folder) else { return Vec::new() };
    let rewards = record.columns.get("reward").into_iter().flatten();
    record.steps.iter().zip(rewards).filter_map(|(step, reward)| Some((*step, (*reward)?))).collect()
}

/// A folder named after the time.
pub(crate) fn new_folder(parent: &str) -> PathBuf {
    Path::new(parent).join(chrono::Local::now().format("%Y-%m-%d_%H-%M-%S").to_string())
}

/// The first Ctrl-C asks the run to stop; the second ends the program at once.
pub(crate) fn on_interrupt(interrupt: Interrupt) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if interrupt.request() {
            std::process::exit(130);
        }
        warn!(
            "\nStopping after the current step, update, completion or rollout. Ctrl-C again stops at once."
        );
    })?;
    Ok(())
}

/// A progress bar for downloads.
pub(crate) fn show_transfer() -> impl Fn(&grpo_data::Transfer<'_>) + Send + Sync + 'static {
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
    let bar = ProgressBar::no_length().with_style(style.expect("the template is valid"));
    move |transfer| {
        bar.set_message(transfer.file.to_string());
        bar.set_length(transfer.total);
        bar.set_position(transfer.done);
        if transfer.done == transfer.total {
            bar.finish_and_clear();
            bar.reset();
        }
    }
}
