//! Turns an instruction-following Qwen2.5 into a reasoning model with GRPO on GSM8K.
//!
//! ```text
//! cargo run --release --example gsm8k_qwen -- --model Qwen/Qwen2.5-0.5B-Instruct --dataset openai/gsm8k
//! ```

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use clap::Parser;
use grpo_core::Objective;
use grpo_data::{Hub, Split, resolve_dataset, resolve_model};
use grpo_examples::{device, display, gsm8k, memory};
use grpo_rollout::Sampling;
use grpo_trainer::{EvaluationOptions, Order, Problem, Qwen2Policy, RunLog, Trainer, TrainerConfig};
use indicatif::{ProgressBar, ProgressStyle};

/// Train a Qwen2.5 model on GSM8K with GRPO.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Args {
    /// The model: a folder in Hugging Face layout, or an id on the Hub.
    #[arg(long)]
    model: String,
    /// The problems: a Parquet or JSONL file, a folder of them, or an id on the Hub.
    #[arg(long, default_value = "openai/gsm8k")]
    dataset: String,
    /// Training steps.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Completions of a problem.
    #[arg(long, default_value_t = 8)]
    group_size: usize,
    /// Problems of a step.
    #[arg(long, default_value = "1")]
    problems_per_step: NonZeroUsize,
    /// The most tokens of a completion.
    #[arg(long, default_value = "256")]
    max_completion_tokens: NonZeroUsize,
    /// Sampling temperature.
    #[arg(long, default_value_t = 1.0)]
    temperature: f32,
    /// Weight of the KL term; 0 needs no reference model.
    #[arg(long, default_value_t = 0.04)]
    beta: f64,
    /// The learning rate.
    #[arg(long, default_value_t = 1e-6)]
    learning_rate: f64,
    /// cpu, metal, vulkan, webgpu or cuda; auto is the first of this build in the order cuda, metal, vulkan, webgpu, cpu.
    #[arg(long, default_value = "auto")]
    device: String,
    /// Decides the order of problems and every sampled token.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Test problems to answer (greedily) before and after training.
    #[arg(long, default_value_t = 0)]
    eval_problems: usize,
    /// Steps after which the model is saved; it always is at the end.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// Folder of the run [default: runs/<date-time>].
    #[arg(long)]
    out: Option<PathBuf>,
}

type QwenTrainer = Trainer<Qwen2Policy, String>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let config = config(args);
    config.validate()?;
    let (device, device_name) = device::choose(&args.device)?;
    let out = args.out.clone().unwrap_or_else(default_out);
    if out.join("metrics.jsonl").exists() || out.join("model").exists() {
        bail!("{} holds a run already: choose another folder with --out", out.display());
    }
    let hub = Hub::from_env()?.with_progress(show_transfer());
    let folder = resolve_model(&args.model, &hub)?;
    let rows = resolve_dataset(&args.dataset, Split::Train, &hub)?;
    let test_rows = test_rows(args, &hub)?;

    let policy = Qwen2Policy::load(&folder, &device, &config)?;
    let mut trainer = Trainer::new(policy, gsm8k::rubric(), config)?;
    let test = problems(test_rows.iter().enumerate(), trainer.policy())?;
    let mut log = RunLog::open(&out)?;
    println!(
        "{} on {} ({} problems), {device_name}; files in {}",
        args.model,
        args.dataset,
        rows.len(),
        out.display()
    );
    if !test.is_empty() {
        println!("Before: {}", evaluate(&trainer, &test)?);
    }
    let outcome = train(&mut trainer, &rows, args, &out, &mut log);
    // What was trained before an error is worth keeping.
    if trainer.steps() > 0 {
        let saved = save(trainer.policy(), &out)?;
        println!(
            "Model saved in {}. To go on from it, as the new reference, with other problems:",
            saved.display()
        );
        println!("  {}", next_command(args, &saved));
    }
    let finished = outcome?;
    if finished && !test.is_empty() {
        println!("After: {}", evaluate(&trainer, &test)?);
    }
    if let Some(peak) = memory::peak() {
        println!("Peak memory: {:.2} GiB", peak as f64 / f64::from(1 << 30));
    }
    Ok(())
}

fn config(args: &Args) -> TrainerConfig {
    TrainerConfig {
        group_size: args.group_size,
        max_completion_length: args.max_completion_tokens.get(),
        sampling: Sampling { temperature: args.temperature, ..Sampling::default() },
        objective: Objective { beta: args.beta, ..Objective::grpo() },
        learning_rate: args.learning_rate,
        max_steps: args.steps,
        seed: args.seed,
        ..TrainerConfig::default()
    }
}

/// The problems to evaluate on.
fn test_rows(args: &Args, hub: &Hub) -> anyhow::Result<Vec<grpo_data::Problem>> {
    if args.eval_problems == 0 {
        return Ok(Vec::new());
    }
    if Path::new(&args.dataset).is_file() {
        bail!(
            "{} is one file, so its test problems would be those trained on: give --dataset a folder",
            args.dataset
        );
    }
    let mut rows = resolve_dataset(&args.dataset, Split::Test, hub)?;
    rows.truncate(args.eval_problems);
    Ok(rows)
}

/// All steps (and then `true`), or as many as there are before Ctrl-C.
fn train(
    trainer: &mut QwenTrainer,
    rows: &[grpo_data::Problem],
    args: &Args,
    out: &Path,
    log: &mut RunLog,
) -> anyhow::Result<bool> {
    let interrupted = on_interrupt()?;
    let bar = progress_bar(args.steps);
    let mut order = Order::new(rows.len(), args.seed);
    let n = args.problems_per_step.get() as u64;
    for step in 0..args.steps {
        let chosen: Vec<usize> = (step * n..(step + 1) * n).map(|position| order.problem(position)).collect();
        let batch = problems(chosen.iter().map(|i| (*i, &rows[*i])), trainer.policy())?;
        let experiences = trainer.roll_out(&batch)?;
        let metrics = trainer.learn(&experiences)?;
        if let Err(error) = log.append(&metrics, &experiences, trainer.rubric()) {
            bar.suspend(|| eprintln!("The step was not recorded: {error}"));
        }
        bar.suspend(|| println!("{}", display::step(&metrics, args.steps, &experiences, &rows[chosen[0]])));
        bar.set_message(format!("{:.0} tokens/s", metrics.tokens_per_second));
        bar.inc(1);
        if interrupted.load(Ordering::Relaxed) {
            bar.suspend(|| println!("Interrupted after step {} of {}.", metrics.step, args.steps));
            return Ok(false);
        }
        if metrics.step % args.save_every == 0 && metrics.step < args.steps {
            let saved = bar.suspend(|| save(trainer.policy(), out))?;
            bar.suspend(|| println!("Model saved in {}.", saved.display()));
        }
    }
    bar.finish_and_clear();
    Ok(true)
}

/// The command that trains the saved model further.
fn next_command(args: &Args, saved: &Path) -> String {
    format!(
        "cargo run --release --example gsm8k_qwen -- --model '{}' --dataset '{}' --seed {} --group-size {} \
         --problems-per-step {} --max-completion-tokens {} --temperature {} --beta {} --learning-rate {} --device {}",
        saved.display(),
        args.dataset,
        args.seed.wrapping_add(1),
        args.group_size,
        args.problems_per_step,
        args.max_completion_tokens,
        args.temperature,
        args.beta,
        args.learning_rate,
        args.device,
    )
}

fn default_out() -> PathBuf {
    Path::new("runs").join(chrono::Local::now().format("%Y-%m-%d_%H-%M-%S").to_string())
}

fn problems<'a>(
    rows: impl Iterator<Item = (usize, &'a grpo_data::Problem)>,
    policy: &Qwen2Policy,
) -> anyhow::Result<Vec<Problem<String>>> {
    rows.map(|(i, row)| gsm8k::problem(i, row, policy)).collect()
}

/// Greedy accuracy and format rate.
fn evaluate(trainer: &QwenTrainer, problems: &[Problem<String>]) -> anyhow::Result<String> {
    let evaluation = trainer.evaluate(problems, &EvaluationOptions::greedy())?;
    let shares = evaluation.rewarded.iter().map(|(name, share)| format!("{name} {share}"));
    Ok(shares.collect::<Vec<_>>().join(", "))
}

/// Saves in the run's folder; if that fails, in the system's folder for temporary files, so that nothing trained is lost.
fn save(policy: &Qwen2Policy, out: &Path) -> anyhow::Result<PathBuf> {
    let folder = out.join("model");
    let Err(error) = policy.save(&folder) else { return Ok(folder) };
    let rescue = std::env::temp_dir().join(format!("grpo-model-{}", std::process::id()));
    eprintln!("The model could not be saved: {error}. Trying {}.", rescue.display());
    policy.save(&rescue)?;
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
