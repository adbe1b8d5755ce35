//! Checks that the rewards of the GSM8K task pay for right answers and for nothing else, before anything is trained on them.
//!
//! ```text
//! cargo run --release --example audit
//! ```

use std::process::ExitCode;

use clap::Parser;
use grpo_cli::{AuditArgs, audit};
use grpo_examples::embedded;

/// Try right answers and known tricks on the rewards of GSM8K.
#[derive(Parser)]
struct Args {
    /// The problems: a Parquet or JSONL file, a folder of them, or an id on the Hub [default: the embedded ones].
    #[arg(long)]
    dataset: Option<String>,
    /// Problems that tricks are tried on.
    #[arg(long, default_value_t = 20)]
    problems: usize,
}

fn main() -> ExitCode {
    grpo_cli::run(|| {
        let Args { dataset, problems } = Args::parse();
        let dataset = dataset.unwrap_or_else(|| embedded::folder("problems").display().to_string());
        audit(&AuditArgs { config: None, dataset: Some(dataset), problems })
    })
}
