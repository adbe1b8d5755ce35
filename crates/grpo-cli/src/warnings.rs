//! Shows the libraries' warnings about files.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{LazyLock, Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Prints each warning about models and datasets once. (The trainer's diagnoses are shown with their steps.)
pub(crate) fn show() {
    // A target stands for all that begin with it.
    let readers = [
        ("grpo", LevelFilter::WARN),
        ("grpo_trainer", LevelFilter::OFF),
        ("grpo_trainer::checkpoint", LevelFilter::WARN),
        ("grpo_trainer::ahead", LevelFilter::WARN),
    ];
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| NewLines)
        .with_ansi(false)
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(Targets::from_iter(readers)).init();
}

/// A policy and its reference are read from the same files, so each warning is needed only once.
struct NewLines;

impl Write for NewLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        static SEEN: LazyLock<Mutex<HashSet<Vec<u8>>>> = LazyLock::new(Mutex::default);
        if SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_vec()) {
            crate::output::above(|| io::stderr().write_all(line))?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
