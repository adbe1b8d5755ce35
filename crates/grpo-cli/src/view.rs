//! `grpo view`: the page of runs in progress, in a browser.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use grpo_page::Server;

use crate::say;

/// Which runs, and where.
#[derive(Args)]
pub struct ViewArgs {
    /// Run folders.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Port on 127.0.0.1; 0 takes any that is free.
    #[arg(long, default_value_t = 7473)]
    port: u16,
}

/// Serves the page until it is stopped.
pub fn view(ViewArgs { runs, port }: &ViewArgs) -> Result<ExitCode> {
    let server = Server::bind(runs, *port)?;
    say!("{} (Ctrl-C ends it)", server.address());
    server.serve()?;
    Ok(ExitCode::SUCCESS)
}
