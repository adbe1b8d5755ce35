//! Repeats a step of a run from the run's folder alone, and compares it with what was recorded then, byte for byte.
//!
//! ```text
//! cargo run --release --example replay -- runs/2026-11-24_10-30-00 --step 37
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use grpo_examples::args::Args;
use grpo_examples::device;
use grpo_examples::roll_out::roll_out;
use grpo_examples::run_folder::RunFolder;
use grpo_trainer::{Order, completion_lines, differences, metrics_line};
use serde_json::Value;

/// Repeats a step of a run, with those between it and the checkpoint before it, and compares completions, rewards,
/// advantages and all metrics with what was recorded.
#[derive(Parser)]
struct Options {
    /// The folder of the run.
    run: PathBuf,
    /// The step, from 1.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    step: u64,
    /// Begins at the start of the run, not at the checkpoint before the step.
    #[arg(long)]
    from_start: bool,
}

fn main() -> ExitCode {
    grpo_examples::allocator::keep_memory();
    grpo_examples::warnings::show();
    match replay(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is as it was recorded.
fn replay(options: &Options) -> anyhow::Result<bool> {
    let run = RunFolder::open(&options.run)?;
    let metrics = Record::read(&run.path.join("metrics.jsonl"))?;
    let completions = Record::read(&run.path.join("completions.jsonl"))?;
    if metrics.of_step(options.step).is_empty() {
        bail!("{} has no step {}", run.path.display(), options.step);
    }
    let args = Args::of_run(&run, &[])?;
    run.check(&args.settings())?;
    let (device, _) = device::choose(&args.device)?;
    let task = run.task()?;
    let mut trainer = args.trainer(&run, &device)?;
    let before = if options.from_start { 0 } else { options.step - 1 };
    if let Some(checkpoint) = run.newest(before, args.keep)? {
        trainer = trainer.resume(&checkpoint)?.0;
    }
    println!(
        "Step {} of {}, repeated from after step {}:",
        options.step,
        run.path.display(),
        trainer.steps()
    );
    let mut order = Order::new(task.train.len(), trainer.config().seed);
    loop {
        let (experiences, _) = roll_out(&trainer, &task, &mut order, args.problems_per_step())?;
        let repeated = trainer.learn(&experiences)?;
        let step = repeated.step;
        let lines = completion_lines(step, &experiences, trainer.rubric());
        let same = [
            completions.compare(step, "completions, rewards and advantages", &lines),
            metrics.compare(step, "metrics", &metrics_line(&repeated)),
        ];
        if step == options.step || same.contains(&false) {
            println!(
                "gradient norm {}, loss {}, reward {}",
                repeated.grad_norm, repeated.loss, repeated.reward
            );
            return Ok(!same.contains(&false));
        }
    }
}

/// A file with lines that say what step they are of.
struct Record {
    lines: Vec<(u64, String)>,
}

impl Record {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let line = |(number, line): (usize, &str)| {
            let value: Value = serde_json::from_str(line)?;
            let step = value["step"].as_u64().context("it has no step")?;
            Ok::<_, anyhow::Error>((step, line.to_string() + "\n"))
                .with_context(|| format!("{}: line {}", path.display(), number + 1))
        };
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        Ok(Self { lines: whole.lines().enumerate().map(line).collect::<Result<_, _>>()? })
    }

    fn of_step(&self, step: u64) -> String {
        self.lines.iter().filter(|(of, _)| *of == step).map(|(_, line)| line.as_str()).collect()
    }

    /// Whether the lines of a step are these, and says so.
    fn compare(&self, step: u64, what: &str, repeated: &str) -> bool {
        let recorded = self.of_step(step);
        let (n, bytes) = (recorded.lines().count(), recorded.len());
        if recorded == repeated {
            println!("step {step}: {what} are the same, byte for byte ({n} lines, {bytes} bytes)");
            return true;
        }
        let pairs = recorded.lines().zip(repeated.lines()).enumerate();
        let (line, (then, now)) =
            pairs.into_iter().find(|(_, (then, now))| then != now).unwrap_or((n, ("{}", "{}")));
        let parse = |line| serde_json::from_str::<Value>(line).unwrap_or_default();
        println!("step {step}: {what} DIFFER, first in line {}:", line + 1);
        for difference in differences(&parse(then), &parse(now)) {
            println!("  {difference}");
        }
        false
    }
}
