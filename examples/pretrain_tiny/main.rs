//! Makes the embedded model, or that of the puzzles: a tiny Qwen2 with random weights learns from demonstrations. It stops early, so that
//! there is something left for reinforcement learning.
//!
//! ```text
//! cargo run --release --example pretrain_tiny
//! cargo run --release --example pretrain_tiny -- --lessons puzzles --steps 2000 --target 1
//! ```

mod demonstrations;
mod files;
mod lessons;
mod tokenizer;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use clap::Parser;
use demonstrations::Demonstration;
use grpo::problems;
use grpo_qwen2::{ActivationCheckpointing, ChatTokenizer, Config, Dtype, ModelFiles, Qwen2};
use grpo_rollout::{PromptCompletions, TokenGradients, TokenLogProbs};
use grpo_trainer::{
    AdamW, AdamWConfig, Evaluation, EvaluationOptions, Qwen2Policy, Qwen2PolicyConfig, Schedule, Trainer,
    TrainerConfig,
};
use lessons::{Exam, Lessons};

/// Demonstrations of a step.
const BATCH: usize = 32;
const WARMUP: u64 = 50;

/// Train the embedded model from random weights.
#[derive(Parser)]
struct Args {
    /// What it learns.
    #[arg(long, value_enum, default_value_t = Lessons::WordProblems)]
    lessons: Lessons,
    /// The model's folder; `examples/embedded/model` replaces the embedded model.
    #[arg(long, default_value = "runs/pretrain_tiny")]
    out: PathBuf,
    /// Decides the weights to begin with and the demonstrations.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The learning rate after a short warm-up.
    #[arg(long, default_value_t = 3e-3)]
    learning_rate: f64,
    /// Stops when this share of problems of every kind is solved ...
    #[arg(long, default_value_t = 0.36)]
    target: f64,
    /// ... or after this many steps.
    #[arg(long, default_value_t = 6000, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Problems that say when to stop: of the kind learned from, so that no test decides it.
    #[arg(long, default_value = "256")]
    problems: NonZeroUsize,
    /// Steps between looks at the problems solved.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

fn main() -> anyhow::Result<()> {
    grpo_cli::allocator::keep_memory();
    let args = Args::parse();
    let device = Device::flex();
    let lessons = args.lessons;
    files::write(&args.out, lessons.demonstrations(args.seed))?;
    let chat = ChatTokenizer::read(&args.out)?;
    let files = ModelFiles::read(&args.out)?;
    let config = Config::read(&args.out.join("config.json"))?;
    let mut model = Qwen2::init(config, args.seed, &device);
    let mut optimizer = AdamW::new(&AdamWConfig { beta2: 0.98, ..AdamWConfig::default() });
    let mut demonstrations = lessons.demonstrations(args.seed.wrapping_add(1));
    let (start, mut losses) = (Instant::now(), 0.0);
    for step in 0..args.steps {
        let batch: Vec<Demonstration> = demonstrations.by_ref().take(BATCH).collect();
        let learning_rate = args.learning_rate * Schedule::Constant.factor(step, WARMUP);
        let loss;
        (model, loss) = imitate(model, &mut optimizer, &chat, &batch, learning_rate)?;
        losses += loss;
        let taken = step + 1;
        if taken % args.every == 0 || taken == args.steps {
            model.save(&files, &args.out, Dtype::Bf16)?;
            let exams = lessons.exams(args.problems.get())?;
            let results: Vec<Evaluation> = exams
                .into_iter()
                .map(|exam| evaluate(&args.out, &device, exam))
                .collect::<anyhow::Result<_>>()?;
            println!(
                "step {taken}, {} demonstrations, {:.0} s: loss {:.4}, {}",
                taken * BATCH as u64,
                start.elapsed().as_secs_f64(),
                losses / ((taken - 1) % args.every + 1) as f64,
                results.iter().map(shares).collect::<Vec<_>>().join("; "),
            );
            losses = 0.0;
            if results.iter().all(|result| result.rewarded[0].1.value() >= args.target) {
                break;
            }
        }
    }
    Ok(())
}

/// One step of supervised learning; returns the mean negative log-likelihood of the answers' tokens, in nats.
fn imitate(
    model: Qwen2,
    optimizer: &mut AdamW,
    chat: &ChatTokenizer,
    batch: &[Demonstration],
    learning_rate: f64,
) -> anyhow::Result<(Qwen2, f64)> {
    let mut tokens = Vec::with_capacity(batch.len());
    for demonstration in batch {
        let answer = format!("{}{}", demonstration.answer, tokenizer::END);
        tokens.push((chat.prompt(&demonstration.question)?, chat.tokenizer.encode(&answer)?));
    }
    let batch: Vec<PromptCompletions<'_>> = tokens
        .iter()
        .map(|(prompt, answer)| PromptCompletions { prompt, completions: vec![answer.as_slice()] })
        .collect();
    let (scores, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
    let n: usize = scores.iter().map(|s| s.logprobs.len()).sum();
    let loss = -scores.iter().flat_map(|s| &s.logprobs).map(|l| f64::from(*l)).sum::<f64>() / n as f64;
    let slope = |s: &TokenLogProbs| TokenGradients::of_logprobs(vec![-1.0 / n as f32; s.logprobs.len()]);
    let slopes: Vec<TokenGradients> = scores.iter().map(slope).collect();
    let mut gradients = GradientsParams::new();
    pass.backward(&model, &slopes, &mut gradients);
    let (model, _) = optimizer.step(model, gradients, learning_rate, 1.0);
    Ok((model, loss))
}

/// How the model in a folder does in an exam.
fn evaluate(folder: &Path, device: &Device, exam: Exam) -> anyhow::Result<Evaluation> {
    let max_completion_length = exam.max_completion_length;
    let mut config = TrainerConfig { max_completion_length, ..TrainerConfig::default() };
    config.recipe.objective.beta = 0.0;
    let trainer =
        Trainer::new(Qwen2Policy::load(folder, device, &Qwen2PolicyConfig::default())?, exam.rubric, config)?;
    let problems = problems(exam.questions.iter().enumerate(), trainer.policy())?;
    Ok(trainer.evaluate(&problems, &EvaluationOptions::greedy())?)
}

/// What share of completions each reward gave anything.
fn shares(evaluation: &Evaluation) -> String {
    let shares = evaluation.rewarded.iter().map(|(name, share)| format!("{name} {share}"));
    shares.collect::<Vec<_>>().join(", ")
}
