//! Repeats a step of a run from the run's folder alone, and compares it with what was recorded, byte for byte.
//!
//! ```text
//! cargo run --release --example replay -- runs/2026-11-24_10-30-00 --step 37
//! ```

use std::process::ExitCode;

use clap::Parser;
use grpo_cli::{ReplayArgs, replay};

/// Repeat a step of a run.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    replay: ReplayArgs,
}

fn main() -> ExitCode {
    grpo_cli::run(|| replay(&Args::parse().replay))
}
