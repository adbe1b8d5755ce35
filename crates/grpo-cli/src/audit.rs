//! Whether the rewards pay for right answers and for nothing else.

use std::process::ExitCode;

use clap::Args;
use grpo::{Hub, Rubric, Split, Task, gsm8k, resolve_dataset};
use grpo_reward::Numeric;
use grpo_reward::audit::{Audit, AuditReport};

use crate::say;

/// Try the rewards for word problems on right answers and on known tricks: as used in training, and with numbers compared
/// instead of text.
#[derive(Args, Debug)]
pub struct AuditArgs {
    /// Problems: a Parquet or JSONL file, a folder of them, or a Hub id.
    #[arg(long, default_value = "openai/gsm8k")]
    pub dataset: String,
    /// Number of problems on which tricks are tried.
    #[arg(long, default_value_t = 20)]
    pub problems: usize,
}

/// Succeeds if no finding is fatal.
pub fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let mut rows = resolve_dataset(&args.dataset, Split::Train, &Hub::from_env()?)?;
    rows.truncate(args.problems);
    let task = Task::of_examples(&rows, gsm8k::SYSTEM).with_marks(gsm8k::MARKS);
    let numeric: Rubric<String> = gsm8k::rubric().with("correctness", 1.0, Numeric::default());
    let mut fatal = false;
    for (name, rubric) in
        [("as used in training: text is compared", gsm8k::rubric()), ("numbers are compared", numeric)]
    {
        let report: AuditReport = task.audit(&Audit::default(), &rubric)?;
        say!("== {name}\n\n{report}");
        fatal |= report.is_fatal();
    }
    Ok(if fatal { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
