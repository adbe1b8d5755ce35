//! Whether the rewards pay for right answers and for nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use grpo::{Hub, Row, Rubric, RunConfig, Task, gsm8k, resolve_dataset};
use grpo_reward::Numeric;
use grpo_reward::audit::{Audit, AuditReport, Severity};

use crate::say;

/// Try rewards on right answers and on known tricks: those of a configuration, or without one those for word problems, as used in
/// training, and with numbers compared instead of text.
#[derive(Args, Debug)]
pub struct AuditArgs {
    /// TOML file whose dataset and rewards are audited.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Problems: a Parquet, JSONL or CSV file, a folder of them, or a Hub id [default: openai/gsm8k].
    #[arg(long)]
    pub dataset: Option<String>,
    /// Number of problems on which tricks are tried.
    #[arg(long, default_value_t = 20)]
    pub problems: usize,
}

/// Succeeds if a run would start: without an error or a fatal finding.
pub fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.as_ref().map_or(Ok(RunConfig::default()), RunConfig::read)?.task;
    let dataset = args.dataset.as_ref().unwrap_or(&config.dataset);
    let mut rows =
        resolve_dataset(dataset, &config.split(&config.train_split), &config.columns, &Hub::from_env()?)?;
    rows.truncate(args.problems);
    let task = Task::of_examples(&rows, gsm8k::SYSTEM).with_marks(config.marks());
    let rubrics: Vec<(&str, Rubric<Row>)> = match args.config {
        Some(_) => vec![("the rewards of the configuration", config.rubric()?)],
        None => {
            let numeric = gsm8k::rubric().with("correctness", 1.0, Numeric::default());
            vec![
                ("as used in training: text is compared", gsm8k::rubric()),
                ("numbers are compared", numeric),
            ]
        }
    };
    if let Some(reward) = config.rewards.iter().find(|reward| !reward.answer_is_truth()) {
        say!(
            "It is not known that the truth of a row is a right answer to `{}`: findings that say so may be wrong.",
            reward.name
        );
    }
    let mut is_refused = false;
    for (name, rubric) in rubrics {
        let report: AuditReport = task.audit(&Audit::default(), &rubric)?;
        say!("== {name}\n\n{report}");
        is_refused |= report.worst() >= Some(Severity::Error);
    }
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
