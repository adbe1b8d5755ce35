//! Turns an instruction-following Qwen2.5 into a reasoning model with GRPO on GSM8K.
//!
//! ```text
//! cargo run --release --example gsm8k_qwen
//! cargo run --release --example gsm8k_qwen -- --model Qwen/Qwen2.5-0.5B-Instruct --dataset openai/gsm8k
//! ```
//!
//! The first command trains a tiny model that comes with the project, so that you can see it work within minutes; the second
//! trains the real one. Both are `grpo train` with that model as the default.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Parser;
use grpo_cli::args::TrainArgs;
use grpo_cli::train::{Program, resume, train};
use grpo_examples::embedded;

const PROGRAM: Program = Program {
    train: "cargo run --release --example gsm8k_qwen --",
    resume: "cargo run --release --example gsm8k_qwen -- --resume",
    view: "cargo run --release -p grpo-cli -- view",
    fallback: Some(embedded::fallback),
};

/// Train a Qwen2 model on word problems with GRPO.
///
/// Without --model, a tiny one that comes with the project learns generated problems, in minutes on a CPU.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Args {
    #[command(flatten)]
    train: TrainArgs,
    /// Resume the run in this folder from its newest checkpoint. Other options must match those it started with, except the
    /// execution options.
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    /// Skip the problem with this id from here on, because a step fails on it (repeatable).
    #[arg(long, value_name = "ID", requires = "resume")]
    skip_problem: Vec<u64>,
}

fn main() -> ExitCode {
    grpo_cli::run(|| {
        let args = Args::parse();
        let Some(folder) = &args.resume else { return train(&args.train, &PROGRAM) };
        if args.train.out.is_some() {
            bail!("--out cannot be combined with --resume: a run stays in its folder");
        }
        resume(folder, &args.train.config.settings()?, &args.skip_problem, &args.train.display, &PROGRAM)
    })
}
