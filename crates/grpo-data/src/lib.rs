//! Datasets in Parquet, JSONL and CSV, and files from the Hugging Face Hub.
//!
//! A dataset has a column of questions and one of answers, or templates that make them of other columns ([`Columns`]). By default they
//! are called `question` and `answer`, and an answer is a worked solution whose truth follows `####` (the layout of GSM8K). [`load`] reads one from a file or a folder, [`Hub`] fetches datasets
//! and models into the cache that is shared with Hugging Face's own tools, and [`resolve_dataset`] and
//! [`resolve_model`] take what a user typed: a path or an id.
//!
//! This crate knows nothing about models or training. It is the only library in the workspace that uses the
//! network or reads the environment ([`Hub::from_env`]). It never prints: it calls a callback for every chunk
//! that arrives.
//!
//! ```no_run
//! use grpo_data::{Columns, Hub, Split, resolve_dataset, resolve_model};
//!
//! # fn main() -> Result<(), grpo_data::Error> {
//! let hub = Hub::from_env()?.with_progress(|t| eprintln!("{} {}/{}", t.file, t.done, t.total));
//! let model = resolve_model("Qwen/Qwen2.5-0.5B-Instruct", &hub)?;
//! let examples = resolve_dataset("openai/gsm8k", &Split::train(), &Columns::default(), &hub)?;
//! # Ok(())
//! # }
//! ```

mod cells;
mod columns;
mod conversation;
mod csv;
mod error;
mod example;
mod hub;
mod jsonl;
mod load;
mod pages;
mod parquet;
mod reader;
mod resolve;
mod split;
mod truth;

pub use columns::{Columns, Truth};
pub use error::{Error, LoadError};
pub use example::{Example, Turn};
pub use hub::{Hub, HubError, Transfer};
pub use load::load;
pub use resolve::{resolve_dataset, resolve_model};
pub use split::Split;
