//! `grpo report`: runs as a page.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use grpo_page::{Size, write_page};
use grpo_record::Run;

use crate::say;

/// Which runs, and where the page goes.
#[derive(Args)]
pub struct ReportArgs {
    /// Run folders, also of runs in progress.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The page.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

/// Writes the page.
pub fn report(ReportArgs { runs, out }: &ReportArgs) -> Result<ExitCode> {
    let runs: Vec<Run> = runs.iter().map(|folder| Run::read(folder)).collect::<Result<_, _>>()?;
    let Size { bytes, completions } = write_page(&runs, out)?;
    let steps: usize = runs.iter().map(|run| run.steps.len()).sum();
    say!("{}: {steps} steps, {completions} completions, {:.1} MB", out.display(), bytes as f64 / 1e6);
    Ok(ExitCode::SUCCESS)
}
