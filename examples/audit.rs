//! Whether the rewards of the GSM8K task pay for right answers and for nothing else, before anything is trained on them.
//!
//! ```text
//! cargo run --release --example audit
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use grpo_data::{Split, load};
use grpo_examples::embedded;
use grpo_examples::gsm8k::{self, GsmRubric};
use grpo_reward::Numeric;

/// Try right answers and known tricks on the rewards of GSM8K.
#[derive(Parser)]
struct Args {
    /// The problems: a Parquet or JSONL file, or a folder of them [default: the embedded ones].
    #[arg(long)]
    dataset: Option<PathBuf>,
    /// Problems that tricks are tried on.
    #[arg(long, default_value_t = 20)]
    problems: usize,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let folder = args.dataset.unwrap_or_else(|| embedded::folder("problems"));
    let mut rows = load(folder, Split::Train)?;
    rows.truncate(args.problems);
    let numeric: GsmRubric = gsm8k::rubric().with("correctness", 1.0, Numeric::default());
    let mut fatal = false;
    for (name, rubric) in
        [("as trained with: text is compared", gsm8k::rubric()), ("numbers are compared", numeric)]
    {
        let report = gsm8k::audit(&rubric, &rows)?;
        println!("== {name}\n\n{report}");
        fatal |= report.is_fatal();
    }
    Ok(if fatal { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
