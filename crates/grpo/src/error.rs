//! Why a run cannot start or continue.

use std::fmt;
use std::path::{Path, PathBuf};

use grpo_fleet::FleetError;
use grpo_qwen2::ModelError;
use grpo_reward::audit::AuditError;
use grpo_reward::{RewardError, SettingError};
use grpo_rollout::InvalidOption;
use grpo_trainer::{CheckpointError, RunLogError, TrainerError};

use crate::config::ConfigError;
use crate::device::DeviceError;

/// Why a run cannot start or continue. No training progress is lost.
///
/// `Debug` prints the message, so that a `main` returning this error prints readable text.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The model or dataset cannot be obtained.
    #[error(transparent)]
    Data(#[from] grpo_data::Error),
    /// The model cannot be loaded or saved.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A step failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The servers that sample completions cannot be used.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// Held-out problems could not be answered.
    #[error("evaluation of the {test}: {cause}")]
    Evaluation {
        /// What the problems are called.
        test: String,
        /// The reason; its problem is one of the test's.
        cause: TrainerError,
    },
    /// A checkpoint cannot be written or resumed from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The record cannot be written.
    #[error(transparent)]
    Record(#[from] RunLogError),
    /// The rewards do not pay for right answers.
    #[error("{0}\nTo start anyway, turn off the audit (`Checks::audit`, `--no-audit`)")]
    Audit(AuditError),
    /// The reward audit is misconfigured.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A file or folder of the run cannot be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// The rewards cannot score completions of a row.
    #[error("{set} row {}: {cause}; correct the row, or the reward\n  {question}", row + 1)]
    Unscorable {
        /// The set that the row is part of.
        set: String,
        /// The row, from 0.
        row: usize,
        /// Which reward, and why.
        cause: Box<RewardError>,
        /// The start of the question.
        question: String,
    },
    /// There is nothing to train on.
    #[error("there is no problem to train on: check the dataset, and max_prompt_length if it is set")]
    NoProblems,
    /// A new run would overwrite something else.
    #[error(
        "{} already has a run or other files: resume that run, or choose another folder", path.display()
    )]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The run's path is not a folder.
    #[error("{} is a file: a run needs a folder", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// There is no run to resume.
    #[error(
        "{}: there is no run to resume: no run was started here, or it ended before it was set up", path.display()
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// Another process is working in the folder.
    #[error("{}: another process is working in this folder: stop it first", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The run has another format version.
    #[error(
        "{} has format {found}, but this version reads format {expected}: continue with the version that wrote it, or start a \
         new run from its model", path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The format that this version reads.
        expected: u32,
    },
    /// A file of the run is damaged.
    #[error("{} cannot be read: {reason}; {advice}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The files that the run started with have changed.
    #[error("{} is not what the run started with ({}): restore it", path.display(), differences.join("; "))]
    StartChanged {
        /// The folder.
        path: PathBuf,
        /// The files that differ.
        differences: Vec<String>,
    },
    /// The run started with another configuration, other rewards or other data.
    #[error(
        "{}: the run started with other settings ({}): resume it with those, or start a new run", path.display(),
        differences.join("; ")
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// What differs, as `algorithm.seed: 0 -> 1`.
        differences: Vec<String>,
    },
    /// An evaluation in the same folder answers other problems, or in another way.
    #[error(
        "{}: the evaluation here was started with other settings ({}): choose another folder", path.display(),
        differences.join("; ")
    )]
    OtherEvaluation {
        /// The folder.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// There is no evaluation.
    #[error("{}: no evaluation was started here: name the folder of one (`grpo evaluate --out`)", path.display())]
    NoEvaluation {
        /// The folder.
        path: PathBuf,
    },
    /// An evaluation has no results.
    #[error(
        "{} has no results of an evaluation: finish the evaluation first, if one was started there", path.display()
    )]
    NoResults {
        /// The folder.
        path: PathBuf,
    },
    /// The run has already taken more steps than requested.
    #[error("{} is already at step {taken}, but steps is only {steps}: raise it", path.display())]
    TooFewSteps {
        /// The folder.
        path: PathBuf,
        /// Steps taken.
        taken: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// A row's prompt leaves too little of the context for a completion.
    #[error(
        "{set} row {}: the prompt has {tokens} tokens, and with max_completion_length {completion} that is more than the \
         model's context of {context}: leave such rows out with max_prompt_length={}, or lower max_completion_length\n  \
         {question}",
        row + 1, context.saturating_sub(*completion)
    )]
    PromptTooLong {
        /// The set that the row is part of.
        set: String,
        /// The row, from 0.
        row: usize,
        /// Tokens of its prompt.
        tokens: usize,
        /// Maximum tokens per completion.
        completion: usize,
        /// The model's context.
        context: usize,
        /// The start of the question.
        question: String,
    },
    /// The longest completion does not fit with any prompt.
    #[error(
        "max_completion_length is {completion}: the model's context is {context} tokens, and the shortest prompt has {prompt}: \
         it must be at most {}", context.saturating_sub(*prompt)
    )]
    CompletionTooLong {
        /// The most tokens of a completion.
        completion: usize,
        /// The model's context.
        context: usize,
        /// Tokens of the shortest prompt.
        prompt: usize,
    },
    /// Options that conflict.
    #[error("{0}")]
    Contradiction(String),
    /// There is too little disk space for a checkpoint.
    #[error(
        "{}: {free} MiB are free, but the run needs {needed} MiB: free up space, choose another folder, or keep fewer \
         checkpoints", path.display()
    )]
    DiskTooSmall {
        /// The folder.
        path: PathBuf,
        /// Free space in MiB.
        free: u64,
        /// Required space in MiB.
        needed: u64,
    },
    /// A step was taken by another number of processes.
    #[error(
        "{}: step {step} was taken by {processes} processes together, whose gradients are added in another way than those of {found}: \
         `mpirun -n {processes} grpo replay …`",
        path.display()
    )]
    Processes {
        /// The folder.
        path: PathBuf,
        /// The step.
        step: u64,
        /// How many processes took it.
        processes: usize,
        /// How many there are.
        found: usize,
    },
    /// The run has no such step.
    #[error("{} has no step {step}: its record ends with step {last}", path.display())]
    NoStep {
        /// The folder.
        path: PathBuf,
        /// The requested step.
        step: u64,
        /// The last one.
        last: u64,
    },
}

impl From<grpo_data::HubError> for Error {
    fn from(error: grpo_data::HubError) -> Self {
        Self::Data(error.into())
    }
}

impl From<AuditError> for Error {
    fn from(error: AuditError) -> Self {
        Self::Audit(error)
    }
}

impl From<InvalidOption> for Error {
    fn from(error: InvalidOption) -> Self {
        Self::Config(error.into())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// The id of the problem on which a step failed, if any: the run can be resumed without it.
    pub fn problem(&self) -> Option<u64> {
        match self {
            Self::Trainer(error) => error.problem(),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}
