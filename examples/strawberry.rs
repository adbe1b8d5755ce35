//! Asks a model the same question before and after GRPO.
//!
//! ```text
//! cargo run --release --example strawberry
//! cargo run --release --example strawberry -- --model Qwen/Qwen2.5-0.5B-Instruct --trained runs/2026-11-24_10-00-00/model
//! ```
//!
//! The first trains the embedded model to have something to compare; the second compares two models that are there.

use burn::tensor::Device;
use clap::Parser;
use grpo_data::{Hub, resolve_model};
use grpo_examples::ask::ask;
use grpo_examples::{device, embedded, gsm8k, report};
use grpo_trainer::{Order, Qwen2Policy, Qwen2PolicyConfig, Trainer};
use indicatif::ProgressBar;

/// Ask a model the same question before and after GRPO.
#[derive(Parser)]
struct Args {
    /// The question [default: "How many R's are in Strawberry?"; embedded model: a word problem].
    question: Option<String>,
    /// The model before: a folder in Hugging Face layout, or an id on the Hub [default: the embedded one].
    #[arg(long, requires = "trained")]
    model: Option<String>,
    /// The model after: the folder that a run has saved [default: the embedded model is trained for it].
    #[arg(long)]
    trained: Option<String>,
    /// Training steps, if the embedded model is trained.
    #[arg(long, default_value_t = embedded::STEPS)]
    steps: u64,
    /// The most tokens of an answer.
    #[arg(long, default_value_t = 256)]
    max_completion_tokens: usize,
    /// cpu, metal, vulkan, webgpu or cuda; auto is the first of this build in the order cuda, metal, vulkan, webgpu, cpu.
    #[arg(long, default_value = "auto")]
    device: String,
}

const STRAWBERRY: &str = "How many R's are in Strawberry?";
const EMBEDDED: &str =
    "Olga buys 6 straws for 4 dollars each and a berry for 9 dollars. How many dollars does Olga pay?";

fn main() -> anyhow::Result<()> {
    grpo_examples::allocator::keep_memory();
    grpo_examples::warnings::show();
    let args = Args::parse();
    let (device, _) = device::choose(&args.device)?;
    let hub = Hub::from_env()?;
    let default = if args.model.is_some() { STRAWBERRY } else { EMBEDDED };
    let question = args.question.as_deref().unwrap_or(default);
    let answer = |policy: &Qwen2Policy| ask(policy, question, args.max_completion_tokens);

    let load = |model: &str| -> anyhow::Result<Qwen2Policy> {
        Ok(Qwen2Policy::load(&resolve_model(model, &hub)?, &device, &Qwen2PolicyConfig::default())?)
    };
    let embedded = embedded::folder("model").display().to_string();
    let before = answer(&load(args.model.as_deref().unwrap_or(&embedded))?)?;
    let after = match &args.trained {
        Some(trained) => answer(&load(trained)?)?,
        None => answer(train(&device, args.steps)?.policy())?,
    };
    println!("{question}\n{}", report::side_by_side(&before, &after));
    Ok(())
}

/// The embedded model after GRPO on the embedded problems.
fn train(device: &Device, steps: u64) -> anyhow::Result<Trainer<Qwen2Policy, String>> {
    eprintln!("Training the embedded model for {steps} steps.");
    let task = embedded::task()?;
    let (rows, config) = (task.train, embedded::config());
    let mut order = Order::new(rows.len(), config.seed);
    let policy = Qwen2Policy::load(&task.model, device, &Qwen2PolicyConfig::default())?;
    let mut trainer = Trainer::new(policy, gsm8k::rubric(), config)?;
    let bar = ProgressBar::new(steps);
    for step in 0..steps {
        let chosen = order.batch(step, embedded::PROBLEMS_PER_STEP);
        trainer.step(&gsm8k::problems(chosen.into_iter().map(|i| (i, &rows[i])), trainer.policy())?)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(trainer)
}
