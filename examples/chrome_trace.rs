//! Where the time of a run goes: a trace of its phases, for chrome://tracing or <https://ui.perfetto.dev>.
//!
//! ```text
//! cargo run --release --example chrome_trace
//! ```
//!
//! The crates open a span of `tracing` for each phase (`roll_out_dynamic` with `generate`, `reward` and `reference`; `learn`;
//! `evaluate`; `checkpoint`), so any subscriber can follow a run.

use anyhow::Result;
use grpo::{Event, Run, gsm8k};
use grpo_examples::embedded;
use tracing_chrome::ChromeLayerBuilder;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const TRACE: &str = "trace.json";

fn main() -> Result<()> {
    let (layer, _finishes_the_file) = ChromeLayerBuilder::new().file(TRACE).include_args(true).build();
    let own = Targets::new().with_target("grpo", tracing::Level::INFO);
    tracing_subscriber::registry().with(layer).with(own).init();

    let mut config = embedded::config()?;
    config.execution.steps = 5;
    config.task.eval_problems = 32;
    let task = embedded::task(&config)?;
    let folder = std::env::temp_dir().join(format!("grpo-trace-{}", std::process::id()));
    Run::open(&folder, config, task, gsm8k::rubric())?.train(|event| {
        if let Event::Step { metrics, times, .. } = event {
            println!("step {}: {:.1} s", metrics.step, times.step_time);
        }
    })?;
    std::fs::remove_dir_all(folder)?;
    println!("Open {TRACE} in chrome://tracing or https://ui.perfetto.dev");
    Ok(())
}
