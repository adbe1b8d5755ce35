use std::path::Path;

use grpo_fleet::ServerReport;
use grpo_trainer::{Experiences, Metrics, Times};

use super::{Best, Evaluated};
use crate::{Error, Question};

/// What a run reports while it works. (It logs anomalies in files with `tracing`.)
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a, T> {
    /// A phase that takes time starts.
    Phase(Phase),
    /// Progress in answering a test.
    Answered {
        /// The test's name.
        test: &'a str,
        /// Problems answered so far.
        done: usize,
        /// Total number of problems.
        of: usize,
    },
    /// Some held-out problems have been answered during training.
    Evaluated {
        /// The results, test by test.
        tests: &'a [Evaluated],
        /// The best evaluation so far, which may be this one.
        best: &'a Best,
    },
    /// What each server has sampled since the step before, where servers sample.
    Servers(&'a [ServerReport]),
    /// A step has been taken.
    Step {
        /// Its metrics.
        metrics: &'a Metrics,
        /// The time each part took.
        times: &'a Times,
        /// Its completions.
        experiences: &'a Experiences,
        /// The question of the first group.
        question: &'a Question<T>,
    },
    /// A step has failed: the run ends with this error. It first writes a checkpoint, unless the update had already begun.
    Failed(&'a Error),
    /// A checkpoint has been written.
    Saved(&'a Path),
    /// Steps cannot be recorded at the moment; unwritten data is kept in memory, and writing is retried after every step.
    NotRecorded(&'a Error),
    /// All steps are recorded again.
    RecordedAgain,
    /// A checkpoint could not be written when it was due; writing is retried after every step.
    NotSaved(&'a Error),
    /// The run ends with an error, and its final checkpoint could not be written.
    NotSavedAtLast(&'a Error),
    /// The model could not be saved in the run folder, so it is saved in the system's temporary folder.
    Rescued {
        /// The error.
        error: &'a Error,
        /// The folder where it is saved instead.
        folder: &'a Path,
    },
}

/// The phases of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Answering held-out problems.
    Evaluating,
    /// Sampling and scoring completions.
    Sampling,
    /// Updating the policy.
    Learning,
    /// Writing a checkpoint or the model.
    Saving,
}
