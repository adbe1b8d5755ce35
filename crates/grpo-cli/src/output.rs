//! Output to streams that may be closed during a run (`grpo train | head`): a failed print does not end the run.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use crate::display::visible;

/// Whether lines for people are left out.
static IS_SILENT: AtomicBool = AtomicBool::new(false);
/// What is shown below the lines.
static BELOW: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// From here on, lines are left out, but not data and errors.
pub fn silence() {
    IS_SILENT.store(true, Ordering::Relaxed);
}

/// From here on, every line appears above this bar, if there is one.
pub(crate) fn keep_below(bar: Option<ProgressBar>) {
    *BELOW.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Writes something above the bar.
pub(crate) fn above<R>(write: impl FnOnce() -> R) -> R {
    let bar = BELOW.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Prints a line; ignores a closed stream.
pub fn line(text: Arguments<'_>) {
    if !IS_SILENT.load(Ordering::Relaxed) {
        data_line(text);
    }
}

/// Prints a line that a program reads; ignores a closed stream.
pub fn data_line(text: Arguments<'_>) {
    let _ = above(|| writeln!(std::io::stdout(), "{text}"));
}

/// Prints a line to standard error, where a text of the data that it quotes cannot control the terminal; ignores a closed stream.
pub fn error_line(text: Arguments<'_>) {
    let text = visible(&text.to_string());
    let _ = above(|| writeln!(std::io::stderr(), "{text}"));
}

/// Prints a line to standard output; does not fail if it is closed.
#[macro_export]
macro_rules! say {
    ($($format:tt)*) => { $crate::output::line(format_args!($($format)*)) };
}

/// Prints a line to standard error; does not fail if it is closed.
#[macro_export]
macro_rules! warn {
    ($($format:tt)*) => { $crate::output::error_line(format_args!($($format)*)) };
}
