//! The `grpo` command.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use grpo::Settings;
use grpo_cli::args::{ConfigArgs, DisplayArgs, ExecutionArgs, TrainArgs};
use grpo_cli::train::Program;
use grpo_cli::{
    AuditArgs, ChatArgs, DoctorArgs, EvaluateArgs, ExportArgs, ReplayArgs, ReportArgs, ServeArgs, SftArgs,
    ViewArgs,
};

const PROGRAM: Program =
    Program { train: "grpo train", resume: "grpo resume", view: "grpo view", fallback: None };

/// Turn an instruction-following Qwen2.5 or Qwen3 into a reasoning model by reinforcement learning with verifiable rewards (GRPO).
#[derive(Parser)]
#[command(name = "grpo", version, args_override_self = true)]
struct Grpo {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a run: train a model on word problems.
    #[command(args_override_self = true)]
    Train(Box<TrainArgs>),
    /// Show a model's rewards before training and the resources a run needs, without writing anything.
    #[command(args_override_self = true)]
    Preflight(Box<ConfigArgs>),
    /// Resume a run bit-exactly from its newest checkpoint.
    #[command(args_override_self = true)]
    Resume(ResumeArgs),
    /// Measure a model on held-out problems, or compare two.
    #[command(args_override_self = true)]
    Evaluate(EvaluateArgs),
    /// Fine-tune a model on its own completions that are right and in the format: a cold start for training.
    #[command(args_override_self = true)]
    Sft(SftArgs),
    /// Serve a model over HTTP with the OpenAI protocol.
    Serve(ServeArgs),
    /// Talk to a model in the terminal.
    Chat(ChatArgs),
    /// Show runs in a browser while they train: curves, and every completion with its rewards.
    View(ViewArgs),
    /// Write the page of `grpo view` as one file that needs no network.
    Report(ReportArgs),
    /// Write a run's steps or completions as a table: CSV or Parquet.
    Export(ExportArgs),
    /// Repeat a step of a run and compare it with the record, byte for byte.
    Replay(ReplayArgs),
    /// List every reward that a configuration can have, with examples.
    Rewards,
    /// Try the rewards on right answers and on known tricks.
    Audit(AuditArgs),
    /// Show this machine's devices, test whether they compute correctly, and measure them.
    Doctor(DoctorArgs),
    /// Show every configuration key with its default and description, as TOML for `train`.
    Config(KeyArgs),
    /// Print shell completions.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Args)]
struct ResumeArgs {
    /// Run folder.
    run: PathBuf,
    /// Skip the problem with this id, on which a step fails, from here on (may be repeated).
    #[arg(long, value_name = "ID")]
    skip_problem: Vec<u64>,
    #[command(flatten)]
    execution: ExecutionArgs,
    #[command(flatten)]
    display: DisplayArgs,
    /// Any keys in the section `execution` that `grpo config` shows, such as keep=3.
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Args)]
struct KeyArgs {
    /// Keys to set, such as recipe=dapo or lora.rank=16; dependent defaults follow.
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// Writes to standard output; an error unless nobody reads it.
fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    match std::io::stdout().write_all(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn main() -> ExitCode {
    grpo_cli::run(|| {
        let command = Grpo::parse().command;
        if !matches!(command, Command::Train(_) | Command::Resume(_) | Command::Replay(_)) {
            grpo_cli::processes::check_alone()?;
        }
        perform(command)
    })
}

fn perform(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Train(args) => grpo_cli::train::train(&args, &PROGRAM),
        Command::Preflight(args) => grpo_cli::train::preflight(&args, &PROGRAM),
        Command::Resume(ResumeArgs { run, skip_problem, execution, display, settings }) => {
            let mut assigned = Settings::default();
            settings.iter().try_for_each(|assignment| assigned.assign(assignment))?;
            let settings = execution.settings()?.then(assigned);
            grpo_cli::train::resume(&run, &settings, &skip_problem, &display, &PROGRAM)
        }
        Command::Evaluate(args) => grpo_cli::evaluate(&args),
        Command::Sft(args) => grpo_cli::sft(&args),
        Command::Serve(args) => grpo_cli::serve(&args),
        Command::Chat(args) => grpo_cli::chat(&args),
        Command::View(args) => grpo_cli::view(&args),
        Command::Report(args) => grpo_cli::report(&args),
        Command::Export(args) => grpo_cli::export(&args),
        Command::Replay(args) => grpo_cli::replay(&args),
        Command::Rewards => grpo_cli::rewards(),
        Command::Audit(args) => grpo_cli::audit(&args),
        Command::Doctor(args) => grpo_cli::doctor(&args),
        Command::Config(args) => {
            let mut settings = Settings::default();
            args.settings.iter().try_for_each(|assignment| settings.assign(assignment))?;
            let config = settings.config()?;
            config.algorithm.validate()?;
            config.policy.validate()?;
            print(config.to_toml().as_bytes())
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Grpo::command(), "grpo", &mut script);
            print(&script)
        }
    }
}
