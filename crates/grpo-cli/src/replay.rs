//! Repeats a step of a run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use grpo::{Compared, Replay, RunFolder};

use crate::{processes, say};

/// Repeat a step of a run, and the steps between it and the checkpoint before it, and compare completions, rewards,
/// advantages and all metrics with the record.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Run folder.
    run: PathBuf,
    /// Step to repeat, from 1.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    step: u64,
    /// Start at the beginning of the run instead of at the checkpoint before the step.
    #[arg(long)]
    from_start: bool,
}

/// Succeeds if everything matches the record.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let collective = processes::join()?;
    if collective.rank() > 0 {
        return crate::train::follow(collective);
    }
    let replay = Replay { step: args.step, from_start: args.from_start };
    let rubric = RunFolder::read_config(&args.run)?.task.rubric()?;
    let mut has_begun = false;
    let step = replay.run_with(&args.run, rubric, collective, |step| {
        if !has_begun {
            say!("Step {} of {}, repeated from after step {}:", args.step, args.run.display(), step.from);
            has_begun = true;
        }
        show(step.figures.step, "completions, rewards and advantages", &step.completions);
        show(step.figures.step, "metrics", &step.metrics);
    })?;
    let figures = &step.figures;
    say!("gradient norm {}, loss {}, reward {}", figures.grad_norm, figures.loss, figures.reward);
    Ok(if step.is_same() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(step: u64, what: &str, compared: &Compared) {
    match &compared.difference {
        None => say!(
            "step {step}: {what} are identical, byte for byte ({} lines, {} bytes)",
            compared.lines,
            compared.bytes
        ),
        Some((line, differences)) => {
            say!("step {step}: {what} DIFFER, first at line {line}:");
            differences.iter().for_each(|difference| say!("  {difference}"));
        }
    }
}
