//! Turns an instruction-following Qwen2.5 into a reasoning model with GRPO on GSM8K.
//!
//! ```text
//! cargo run --release --example gsm8k_qwen
//! cargo run --release --example gsm8k_qwen -- --model Qwen/Qwen2.5-0.5B-Instruct --dataset openai/gsm8k
//! ```
//!
//! The first trains a tiny model that comes with the project, to see it work within minutes; the second the real thing.

mod args;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use args::Args;
use clap::Parser;
use grpo_data::Hub;
use grpo_examples::report::Comparison;
use grpo_examples::roll_out::roll_out;
use grpo_examples::task::{Task, Test};
use grpo_examples::{device, display, gsm8k, memory, report};
use grpo_qwen2::ModelError;
use grpo_trainer::{Evaluation, EvaluationOptions, Order, Qwen2Policy, RunLog, Trainer};
use indicatif::{ProgressBar, ProgressStyle};

type QwenTrainer = Trainer<Qwen2Policy, String>;

fn main() -> ExitCode {
    grpo_examples::allocator::keep_memory();
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let config = args.config();
    config.validate()?;
    let (device, device_name) = device::choose(&args.device)?;
    let out = args.out.clone().unwrap_or_else(default_out);
    if out.join("metrics.jsonl").exists() || out.join("model").exists() {
        bail!("{} holds a run already: choose another folder with --out", out.display());
    }
    let hub = Hub::from_env()?.with_progress(show_transfer());
    let task = args.task(&hub)?;
    gsm8k::check_golds(&gsm8k::rubric(), &task.train)?;
    let policy = args.policy(&task.model, &device)?;
    println!("{} ({} problems), {device_name}; files in {}", args.subject(), task.train.len(), out.display());
    println!(
        "Memory: about {}",
        policy.memory_plan(&config, args.problems_per_step(), gsm8k::longest_prompt(&task.train, &policy)?)
    );
    let mut trainer = Trainer::new(policy, args.rubric(), config)?;
    let before = evaluate(&trainer, &task.tests)?;
    for (test, evaluation) in task.tests.iter().zip(&before) {
        println!("Before training, {}: {}", test.name, display::shares(evaluation));
    }
    let mut log = RunLog::open(&out)?;
    let mut rewards = Vec::new();
    let outcome = train(&mut trainer, &task, args, &out, &mut log, &mut rewards);
    // What was trained before an error is worth keeping.
    let saved = if trainer.steps() > 0 { Some(save_all(trainer.policy(), &out)?) } else { None };
    let finished = outcome?;
    println!("\n{}", report::plot(&rewards));
    if finished && !task.tests.is_empty() {
        let after = evaluate(&trainer, &task.tests)?;
        show_changes(&task.tests, before, after, &out);
    }
    if let Some(saved) = saved {
        println!("\n{}", farewell(args, &out, &saved));
    }
    Ok(())
}

/// All steps (and then `true`), or as many as there are before Ctrl-C.
fn train(
    trainer: &mut QwenTrainer,
    task: &Task,
    args: &Args,
    out: &Path,
    log: &mut RunLog,
    rewards: &mut Vec<f64>,
) -> anyhow::Result<bool> {
    let interrupted = on_interrupt()?;
    let (steps, seed) = (trainer.config().max_steps, trainer.config().seed);
    let bar = progress_bar(steps);
    let mut order = Order::new(task.train.len(), seed);
    for _ in 0..steps {
        let experiences = roll_out(trainer, task, &mut order, args.problems_per_step())?;
        let metrics = trainer.learn(&experiences)?;
        if let Err(error) = log.append(&metrics, &experiences, trainer.rubric()) {
            bar.suspend(|| eprintln!("The step was not recorded: {error}"));
        }
        rewards.push(metrics.reward);
        if metrics.step % args.show_every() == 0 || metrics.step == 1 {
            let first = &task.train[experiences.groups[0].problem as usize];
            let shown = display::step(&metrics, steps, &experiences, first);
            bar.suspend(|| println!("{shown}"));
        }
        bar.set_message(format!("{:.0} tokens/s", metrics.times.tokens_per_second));
        bar.inc(1);
        if interrupted.load(Ordering::Relaxed) && metrics.step < steps {
            bar.suspend(|| println!("Interrupted after step {} of {steps}.", metrics.step));
            return Ok(false);
        }
        if metrics.step % args.save_every == 0 && metrics.step < steps {
            let saved = bar.suspend(|| save(trainer.policy(), out))?;
            bar.suspend(|| println!("Model saved in {}.", saved.display()));
        }
    }
    bar.finish_and_clear();
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
fn show_changes(tests: &[Test], before: Vec<Evaluation>, after: Vec<Evaluation>, out: &Path) {
    let pairs = before.into_iter().zip(after).zip(tests);
    let comparisons: Vec<Comparison> =
        pairs.map(|((before, after), test)| Comparison { name: test.name.clone(), before, after }).collect();
    println!("{}\n", report::table(&comparisons));
    let first = &comparisons[0];
    let (i, why) = report::example(first);
    let row = &tests[0].rows[i];
    println!("{why}: {}\nGold answer: {}", row.question, row.truth);
    println!("{}", report::side_by_side(&first.before.completions[i].0, &first.after.completions[i].0));
    let path = out.join("evaluation.json");
    let json = serde_json::to_string_pretty(&comparisons).expect("an evaluation is plain data");
    if let Err(error) = std::fs::write(&path, json) {
        eprintln!("{} could not be written: {error}", path.display());
    }
}

/// Where everything is, and what to do next.
fn farewell(args: &Args, out: &Path, saved: &Path) -> String {
    let mut lines = vec![
        format!("Model, in Hugging Face layout: {}", saved.display()),
        format!("Figures of every step, every completion, tests: {}/*.json*", out.display()),
    ];
    if args.config().lora.is_some() {
        lines.push(format!(
            "Its adapters, in PEFT's format, to go on with by --adapter: {}",
            out.join("adapter").display()
        ));
    }
    if let Some(peak) = memory::peak() {
        lines.push(format!("Peak memory: {:.2} GiB", peak as f64 / f64::from(1 << 30)));
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

/// Saves what is trained in the run's folder, so that it can be gone on with: the model, or its adapters.
fn save(policy: &Qwen2Policy, out: &Path) -> anyhow::Result<PathBuf> {
    let name = if policy.model().has_lora() { "adapter" } else { "model" };
    keep(out, name, |folder| policy.save(folder))
}

/// Saves what is trained, and adapters in the model's matrices too; returns the model's folder.
fn save_all(policy: &Qwen2Policy, out: &Path) -> anyhow::Result<PathBuf> {
    let saved = save(policy, out)?;
    match policy.model().has_lora() {
        true => keep(out, "model", |folder| policy.save_merged(folder)),
        false => Ok(saved),
    }
}

/// Writes to a folder of the run; if that fails, to the system's folder for temporary files, so that nothing trained is lost.
fn keep(out: &Path, name: &str, write: impl Fn(&Path) -> Result<(), ModelError>) -> anyhow::Result<PathBuf> {
    let folder = out.join(name);
    let Err(error) = write(&folder) else { return Ok(folder) };
    let rescue = std::env::temp_dir().join(format!("grpo-{name}-{}", std::process::id()));
    eprintln!("The {name} could not be saved: {error}. Trying {}.", rescue.display());
    write(&rescue)?;
    Ok(rescue)
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

fn progress_bar(steps: u64) -> ProgressBar {
    let style = "{bar:30} {pos}/{len} steps, {msg}, {elapsed} gone, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is valid");
    let bar = ProgressBar::new(steps).with_style(style).with_message("sampling");
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
