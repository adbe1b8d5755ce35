//! The `grpo` command as a library: options, output and actions. The project's examples are built on it.

pub mod allocator;
pub mod args;
mod audit;
mod devices;
pub mod display;
mod doctor;
mod evaluate;
mod evaluation_text;
mod export;
pub mod output;
pub mod processes;
mod replay;
mod report;
mod rewards;
mod screen;
mod serve;
mod sft;
pub mod summary;
mod tensorboard;
pub mod train;
mod view;
mod warnings;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

pub use audit::{AuditArgs, audit};
pub use doctor::{DoctorArgs, doctor};
pub use evaluate::{EvaluateArgs, evaluate};
pub use export::{ExportArgs, export};
pub use replay::{ReplayArgs, replay};
pub use report::{ReportArgs, report};
pub use rewards::rewards;
pub use serve::{ChatArgs, ServeArgs, chat, serve};
pub use sft::{SftArgs, sft};
pub use view::{ViewArgs, view};

/// Runs a program: sets up the caching allocator, shows warnings, and prints errors in readable form.
pub fn run(program: impl FnOnce() -> anyhow::Result<ExitCode>) -> ExitCode {
    allocator::keep_memory();
    warnings::show();
    if let Some(ended) = devices::serve() {
        return ended;
    }
    devices::set_up();
    let ended = catch_unwind(AssertUnwindSafe(program)).unwrap_or_else(|panic| {
        processes::end(ExitCode::FAILURE);
        resume_unwind(panic)
    });
    processes::end(ended.unwrap_or_else(|error| {
        warn!("Error: {error:#}");
        ExitCode::FAILURE
    }))
}
