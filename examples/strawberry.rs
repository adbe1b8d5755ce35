//! Asks a model the same question before and after GRPO.
//!
//! ```text
//! cargo run --release --example strawberry
//! cargo run --release --example strawberry -- --model Qwen/Qwen2.5-0.5B-Instruct --trained runs/2026-11-24_10-00-00/model
//! ```
//!
//! The first command trains the embedded model to get something to compare; the second compares two existing models.

use std::process::ExitCode;

use clap::Parser;
use grpo::device::{Subject, prove};
use grpo::{
    Device, DeviceKind, Hub, Problems, Question, Qwen2Policy, Qwen2PolicyConfig, Row, Trainer, gsm8k,
    resolve_model,
};
use grpo_cli::{say, summary};
use grpo_examples::embedded;
use grpo_rollout::{Request, SampleKey, Sampler, Sampling};
use grpo_trainer::Text;
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
    /// cpu, metal, vulkan, webgpu or cuda; auto is the first GPU of this build that passes a self-test, or else the CPU.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
}

const STRAWBERRY: &str = "How many R's are in Strawberry?";
const EMBEDDED: &str =
    "Olga buys 6 straws for 4 dollars each and a berry for 9 dollars. How many dollars does Olga pay?";

fn main() -> ExitCode {
    grpo_cli::run(|| {
        let args = Args::parse();
        let hub = Hub::from_env()?;
        let default = if args.model.is_some() { STRAWBERRY } else { EMBEDDED };
        let question = args.question.as_deref().unwrap_or(default);
        let answer = |policy: &Qwen2Policy| ask(policy, question, args.max_completion_tokens);

        let embedded = embedded::folder("model").display().to_string();
        let model = args.model.as_deref().unwrap_or(&embedded);
        let device = prove(args.device, &Subject::read(&resolve_model(model, &hub)?, None)?, None)?.device;
        let load = |model: &str| -> anyhow::Result<Qwen2Policy> {
            Ok(Qwen2Policy::load(&resolve_model(model, &hub)?, &device, &Qwen2PolicyConfig::default())?)
        };
        let before = answer(&load(model)?)?;
        let after = match &args.trained {
            Some(trained) => answer(&load(trained)?)?,
            None => answer(train(&device, args.steps)?.policy())?,
        };
        say!("{question}\n{}", summary::side_by_side(&before, &after));
        Ok(ExitCode::SUCCESS)
    })
}

/// The most probable answer to a question, of at most `max_tokens` tokens.
fn ask(policy: &Qwen2Policy, question: &str, max_tokens: usize) -> anyhow::Result<String> {
    let prompt = policy.prompt(&Question::new(gsm8k::SYSTEM, question, ()).messages)?;
    let stop = policy.text.stop().to_vec();
    let sampler = Sampler { sampling: Sampling::greedy(), stop, max_tokens, batch_rows: 1 };
    // A greedy answer depends on no key, but has one.
    let keys = [SampleKey { seed: 0, step: 0, problem: 0, sample: 0 }];
    let samples =
        policy.rollouts.sample(&policy.model, &sampler, &[Request { prompt: &prompt, keys: &keys }])?;
    Ok(policy.text.decode(&samples[0][0].tokens))
}

/// The embedded model after GRPO on the embedded problems.
fn train(device: &Device, steps: u64) -> anyhow::Result<Trainer<Qwen2Policy, Row>> {
    eprintln!("Training the embedded model for {steps} steps.");
    let config = embedded::config()?;
    let task = embedded::task(&config)?;
    let policy = Qwen2Policy::load(&embedded::folder("model"), device, &config.policy)?;
    let mut trainer = Trainer::new(policy, gsm8k::rubric(), config.algorithm.clone())?;
    let mut problems = Problems::new(&task, &config);
    let bar = ProgressBar::new(steps);
    for _ in 0..steps {
        let (experiences, _) = problems.roll_out(&trainer)?;
        trainer.learn(&experiences)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(trainer)
}
