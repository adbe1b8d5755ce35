//! Output to streams that may be closed during a run (`grpo train | head`): a failed print does not end the run.

use std::fmt::Arguments;
use std::io::Write;

/// Prints a line; ignores a closed stream.
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line to standard error; ignores a closed stream.
pub fn error_line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
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
