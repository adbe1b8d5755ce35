//! Turns an instruction-following Qwen2.5 into a reasoning model with GRPO on GSM8K.
//!
//! ```text
//! cargo run --release --example gsm8k_qwen
//! cargo run --release --example gsm8k_qwen -- --model Qwen/Qwen2.5-0.5B-Instruct --dataset openai/gsm8k
//! ```
//!
//! The first trains a tiny model that comes with the project, to see it work within minutes; the second the real thing.

mod save;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;
use grpo_data::Hub;
use grpo_examples::args::Args;
use grpo_examples::report::Comparison;
use grpo_examples::roll_out::roll_out;
use grpo_examples::run_folder::{Lock, RunFolder};
use grpo_examples::task::{Task, Test};
use grpo_examples::{device, display, gsm8k, memory, report};
use grpo_trainer::{Evaluation, EvaluationOptions, LogPosition, Order, Qwen2Policy, RunLog, Times, Trainer};
use indicatif::{ProgressBar, ProgressStyle};
use save::Saver;

type QwenTrainer = Trainer<Qwen2Policy, String>;

fn main() -> ExitCode {
    grpo_examples::allocator::keep_memory();
    grpo_examples::warnings::show();
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let (args, run, _lock) = match &args.resume {
        Some(path) => reopen(path)?,
        None => begin(args)?,
    };
    let (device, device_name) = device::choose(&args.device)?;
    let task = run.task()?;
    let trainer = args.trainer(&run, &device)?;
    println!(
        "{} ({} problems), {device_name}; files in {}",
        args.subject(),
        task.train.len(),
        run.path.display()
    );
    if let Some(hint) = device::hint(&args.device) {
        println!("{hint}.");
    }
    let prompt = gsm8k::longest_prompt(&task.train, trainer.policy())?;
    let plan = trainer.memory_plan(args.problems_per_step(), prompt);
    println!("Memory: about {plan}");
    let before = run.before(|| evaluate(&trainer, &task.tests))?;
    for (test, evaluation) in task.tests.iter().zip(&before) {
        println!("Before training, {}: {}", test.name, display::shares(evaluation));
    }
    let (mut trainer, log) = restore(trainer, &run, &args)?;
    let mut saver = Saver::new(&run, &args, log, trainer.steps());
    let outcome = train(&mut trainer, &task, &args, &mut saver);
    // What was trained before an error is worth keeping; of two errors, the first is the reason.
    let saved = (trainer.steps() > 0).then(|| save::model(trainer.policy(), &run.path)).transpose();
    let finished = outcome?;
    let saved = saved?;
    // None at all if not a single step could be recorded.
    if let Some(rewards) = saver.rewards().ok().filter(|rewards| !rewards.is_empty()) {
        println!("\n{}", report::plot(&rewards));
    }
    if finished && !task.tests.is_empty() {
        let after = evaluate(&trainer, &task.tests)?;
        show_changes(&task.tests, before, after, &run);
    }
    if let Some(saved) = saved {
        println!("\n{}", farewell(&args, &run.path, &saved, finished));
    }
    Ok(())
}

/// A new run.
fn begin(args: Args) -> anyhow::Result<(Args, RunFolder, Lock)> {
    args.validate()?;
    device::choose(&args.device)?;
    let out = args.out.clone().unwrap_or_else(default_out);
    refuse_taken(&out)?;
    let hub = Hub::from_env()?.with_progress(show_transfer());
    let task = args.task(&hub)?;
    gsm8k::check_golds(&gsm8k::rubric(), &task.train)?;
    let lock = RunFolder::lock(&out)?;
    // Downloads take their time: another process may have been faster.
    refuse_taken(&out)?;
    let options = std::env::args().skip(1).collect();
    let run = RunFolder::create(&out, options, args.settings(), &task, args.adapter.as_deref())?;
    Ok((args, run, lock))
}

fn refuse_taken(out: &Path) -> anyhow::Result<()> {
    if RunFolder::is_taken(out) {
        bail!(
            "{0} holds a run already, or files of others: choose another folder with --out, or go on with the run by \
             --resume {0}",
            out.display()
        );
    }
    Ok(())
}

/// A run that was begun before.
fn reopen(path: &Path) -> anyhow::Result<(Args, RunFolder, Lock)> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if !path.is_dir() {
        bail!("{}: there is no such folder; --resume takes the folder of a run", path.display());
    }
    if given.iter().any(|option| option == "--out" || option.starts_with("--out=")) {
        bail!("--resume goes on in the folder of the run: leave --out away");
    }
    let lock = RunFolder::lock(path)?;
    let run = RunFolder::open(path)?;
    let args = Args::of_run(&run, &given)?;
    run.check(&args.settings())?;
    Ok((args, run, lock))
}

/// The trainer after the steps of the run's newest checkpoint, and the run's record at that step.
fn restore(trainer: QwenTrainer, run: &RunFolder, args: &Args) -> anyhow::Result<(QwenTrainer, RunLog)> {
    let steps = args.steps();
    let Some(checkpoint) = run.newest(u64::MAX, args.keep)? else {
        if args.resume.is_some() {
            println!("There is no checkpoint yet: going on from the start.");
        }
        return Ok((trainer, RunLog::resume(&run.path, LogPosition::default())?));
    };
    if checkpoint.step > steps {
        bail!(
            "{} is after step {} already: --steps {steps} are too few",
            run.path.display(),
            checkpoint.step
        );
    }
    let (trainer, position) = trainer.resume(&checkpoint)?;
    let position = position.with_context(|| format!("{} has no record", checkpoint.path.display()))?;
    println!("Going on after step {} of {steps}.", checkpoint.step);
    Ok((trainer, RunLog::resume(&run.path, position)?))
}

/// All steps (and then `true`), or as many as there are before Ctrl-C.
fn train(trainer: &mut QwenTrainer, task: &Task, args: &Args, saver: &mut Saver) -> anyhow::Result<bool> {
    let interrupted = on_interrupt()?;
    let (steps, seed) = (args.steps(), trainer.config().seed);
    let bar = progress_bar(trainer.steps(), steps);
    let mut order = Order::new(task.train.len(), seed);
    while trainer.steps() < steps {
        let (experiences, times) = roll_out(trainer, task, &mut order, args.problems_per_step())
            .inspect_err(|_| bar.suspend(|| saver.save_at_last(trainer)))?;
        let start = Instant::now();
        let metrics = trainer.learn(&experiences)?;
        let times = Times::new(times, experiences.tokens, start.elapsed());
        bar.suspend(|| saver.record(trainer, &metrics, &times, &experiences));
        if metrics.step % args.show_every() == 0 || metrics.step == 1 {
            let first = &task.train[experiences.groups[0].problem as usize];
            let shown = display::step(&metrics, &times, steps, &experiences, first);
            bar.suspend(|| println!("{shown}"));
        }
        for diagnosis in &metrics.diagnoses {
            bar.suspend(|| println!("Step {}: {diagnosis}.", metrics.step));
        }
        bar.set_message(format!("{:.0} tokens/s", times.tokens_per_second));
        bar.inc(1);
        if interrupted.load(Ordering::Relaxed) && metrics.step < steps {
            bar.suspend(|| println!("Interrupted after step {} of {steps}.", metrics.step));
            saver.save(trainer)?;
            return Ok(false);
        }
        bar.suspend(|| saver.save_if_due(trainer));
    }
    bar.finish_and_clear();
    saver.save(trainer)?;
    // There is nothing left to finish: from here on, the first Ctrl-C ends the program.
    interrupted.store(true, Ordering::Relaxed);
    Ok(true)
}

fn default_out() -> PathBuf {
    Path::new("runs").join(chrono::Local::now().format("%Y-%m-%d_%H-%M-%S").to_string())
}

/// The tests, answered greedily.
fn evaluate(trainer: &QwenTrainer, tests: &[Test]) -> anyhow::Result<Vec<Evaluation>> {
    let evaluate = |test: &Test| {
        let problems = gsm8k::problems(test.rows.iter().enumerate(), trainer.policy())?;
        Ok(trainer.evaluate(&problems, &EvaluationOptions::greedy())?)
    };
    tests.iter().map(evaluate).collect()
}

/// Shows, and keeps in the run's folder, what training has changed.
fn show_changes(tests: &[Test], before: Vec<Evaluation>, after: Vec<Evaluation>, run: &RunFolder) {
    let pairs = before.into_iter().zip(after).zip(tests);
    let comparisons: Vec<Comparison> =
        pairs.map(|((before, after), test)| Comparison { name: test.name.clone(), before, after }).collect();
    println!("{}\n", report::table(&comparisons));
    let first = &comparisons[0];
    let (i, why) = report::example(first);
    let row = &tests[0].rows[i];
    println!("{why}: {}\nGold answer: {}", row.question, row.truth);
    println!("{}", report::side_by_side(&first.before.completions[i].0, &first.after.completions[i].0));
    if let Err(error) = run.write_json("evaluation.json", &comparisons) {
        eprintln!("{error:#}");
    }
}

/// Where everything is, and what to do next.
fn farewell(args: &Args, out: &Path, saved: &Path, finished: bool) -> String {
    let mut lines = vec![
        format!("Model, in Hugging Face layout: {}", saved.display()),
        format!("Figures of every step, every completion, tests: {}/*.json*", out.display()),
    ];
    if args.policy_config().lora.is_some() {
        lines.push(format!(
            "Its adapters, in PEFT's format, to go on with by --adapter: {}",
            out.join("adapter").display()
        ));
    }
    if let Some(peak) = memory::peak() {
        lines.push(format!("Peak memory: {:.2} GiB", peak as f64 / f64::from(1 << 30)));
    }
    if !finished {
        lines.push("To go on where it was interrupted:".to_string());
        lines.push(format!("  cargo run --release --example gsm8k_qwen -- {}", args.resumption(out)));
    }
    let command = "  cargo run --release --example gsm8k_qwen -- --model";
    lines.push("To go on from the saved model, as the new reference, with other problems:".to_string());
    lines.push(format!("{command} '{}' {}", saved.display(), args.further()));
    if args.model.is_none() {
        lines.push("The same with a real model and the real GSM8K, from the Hugging Face Hub:".to_string());
        lines.push(format!("{command} Qwen/Qwen2.5-0.5B-Instruct --dataset openai/gsm8k"));
    }
    lines.join("\n")
}

/// Set by the first Ctrl-C; the second ends the program at once.
fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nFinishing this step, then saving. Ctrl-C again stops at once.");
    })?;
    Ok(interrupted)
}

fn progress_bar(step: u64, steps: u64) -> ProgressBar {
    let style = "{bar:30} {pos}/{len} steps, {msg}, {elapsed} gone, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is valid");
    let bar = ProgressBar::new(steps).with_style(style).with_message("sampling").with_position(step);
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

/// A progress bar of downloads.
fn show_transfer() -> impl Fn(&grpo_data::Transfer<'_>) + Send + Sync + 'static {
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
