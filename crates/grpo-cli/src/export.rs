//! `grpo export`: a run as a table for other programs.

use std::iter;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgGroup, Args};
use grpo_export::{Completions, steps, write_csv, write_parquet};
use grpo_record::Run;

use crate::say;

/// Which run, and where its table goes.
#[derive(Args)]
#[command(group(ArgGroup::new("table").required(true).multiple(true).args(["csv", "parquet"])))]
pub struct ExportArgs {
    /// Run folder, also of a run in progress.
    run: PathBuf,
    /// A CSV file: a row per step, with every metric and time.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The same as a Parquet file.
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
    /// A row per completion instead: its problem, prompt, text, ending, rewards and advantage.
    #[arg(long)]
    completions: bool,
}

/// Writes the files.
pub fn export(ExportArgs { run, csv, parquet, completions }: &ExportArgs) -> Result<ExitCode> {
    let run = Run::read(run)?;
    for (path, is_csv) in csv.iter().map(|path| (path, true)).chain(parquet.iter().map(|path| (path, false)))
    {
        let rows = match (completions, is_csv) {
            (true, true) => write_csv(Completions::open(&run)?, path)?,
            (true, false) => write_parquet(Completions::open(&run)?, path)?,
            (false, true) => write_csv(iter::once(Ok(steps(&run))), path)?,
            (false, false) => write_parquet(iter::once(Ok(steps(&run))), path)?,
        };
        say!("{}: {rows} {}", path.display(), if *completions { "completions" } else { "steps" });
    }
    Ok(ExitCode::SUCCESS)
}
