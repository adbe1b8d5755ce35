//! Samples completions on inference servers: vLLM, or `grpo serve`.
//!
//! A [`Fleet`] gives whole groups to the server that has the fewest in progress, repeats them elsewhere when a server fails, and keeps
//! every server's policy up to date. [`protocol`] turns requests into bytes and checks what comes back; it knows no network. A
//! [`Journal`] keeps what was sampled, so that a run that is resumed learns from the same samples.
//!
//! There is no hedging, and no completion is dropped because it takes long: both would prefer short completions.

mod client;
mod config;
mod error;
mod fleet;
mod journal;
pub mod protocol;
mod publication;
mod schedule;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use config::{FleetConfig, ServerConfig};
pub use error::FleetError;
pub use fleet::{Fleet, ServerReport};
pub use journal::{Journal, JournalError};
pub use publication::{PolicyKind, Save};

/// Locks what a thread that has panicked may have left locked: every change here is made at once.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
