//! Asks a model the same question before and after GRPO.
//!
//! ```text
//! cargo run --release --example strawberry
//! cargo run --release --example strawberry -- --model Qwen/Qwen2.5-0.5B-Instruct --trained runs/2026-11-24_10-00-00/model
//! ```
//!
//! The first trains the embedded model to have something to compare; the second compares two models that are there.

use clap::Parser;
use grpo_data::{Hub, resolve_model};
use grpo_examples::ask::ask;
use grpo_examples::{device, embedded, gsm8k, report};
use grpo_trainer::{Order, Qwen2Policy, Trainer, TrainerConfig};
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
    #[arg(long, default_value_t = embedded::config().max_steps)]
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
    let args = Args::parse();
    let (device, _) = device::choose(&args.device)?;
    let hub = Hub::from_env()?;
    let default = if args.model.is_some() { STRAWBERRY } else { EMBEDDED };
    let question = args.question.as_deref().unwrap_or(default);
    let answer = |policy: &Qwen2Policy| ask(policy, question, args.max_completion_tokens);

    let config = TrainerConfig { max_steps: args.steps, ..embedded::config() };
    let folder = match &args.model {
        Some(model) => resolve_model(model, &hub)?,
        None => embedded::folder("model"),
    };
    let policy = Qwen2Policy::load(&folder, &device, &config)?;
    let before = answer(&policy)?;
    let after = match &args.trained {
        Some(trained) => answer(&Qwen2Policy::load(&resolve_model(trained, &hub)?, &device, &config)?)?,
        None => answer(train(policy, config)?.policy())?,
    };
    println!("{question}\n{}", report::side_by_side(&before, &after));
    Ok(())
}

/// The embedded model after GRPO on the embedded problems.
fn train(policy: Qwen2Policy, config: TrainerConfig) -> anyhow::Result<Trainer<Qwen2Policy, String>> {
    let rows = embedded::task()?.train;
    let (steps, mut order) = (config.max_steps, Order::new(rows.len(), config.seed));
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
