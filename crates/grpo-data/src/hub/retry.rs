//! What is retried, and when.

use std::time::Duration;

use super::HubError;

/// Attempts in a row without progress; an attempt that makes progress restarts the count.
const MAX_TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The sum of pauses in a row: the Hub counts requests over five minutes, and nobody should need to wait longer.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Retries until there is a response, or no hope of one. `attempt` reports its progress.
pub(super) fn retry<T>(mut attempt: impl FnMut(&mut u64) -> Result<T, HubError>) -> Result<T, HubError> {
    let (mut tries, mut furthest, mut waited) = (0, 0, Duration::ZERO);
    loop {
        let before = furthest;
        let error = match attempt(&mut furthest) {
            Err(error) if error.is_transient() => error,
            done_or_hopeless => return done_or_hopeless,
        };
        if furthest > before {
            (tries, waited) = (0, Duration::ZERO);
        }
        tries += 1;
        let pause = error.retry_after().unwrap_or(FIRST_PAUSE * 2u32.pow(tries - 1));
        waited = waited.saturating_add(pause);
        if tries == MAX_TRIES || waited > MAX_WAIT {
            return Err(error);
        }
        tracing::warn!(%error, "trying again in {} s", pause.as_secs_f64());
        std::thread::sleep(pause);
    }
}
