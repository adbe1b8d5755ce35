//! Runs as a page: the curves of their metrics, and every completion with its rewards.
//!
//! A page is one file that needs no network, or is served on this machine while a run is in progress. Completions are in it step by step, compressed, and are unpacked when they are looked at.
//! It is made from the files of a run folder alone (`run.json`, `metrics.jsonl`, `times.jsonl`, `completions.jsonl`,
//! `evaluations.jsonl`, `before.json`, `evaluation.json`), whether the run has ended or not.
//!
//! A completion is untrusted text: the page shows it as text only, and its content security policy allows no script but its own and no
//! request but to its own server.

mod completion;
mod error;
mod held_out;
mod page;
mod serve;
mod steps;
mod tokens;

pub use error::PageError;
pub use page::{Size, write_page};
pub use serve::Server;
