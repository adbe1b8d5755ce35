//! Readers of files that others wrote, of answers of servers, and of text that a model wrote, each as a function of bytes: whatever the bytes are,
//! nothing may panic, hang or take memory without measure.
//!
//! `cargo fuzz run` searches for bytes that do (the programs in `fuzz_targets`); the tests try the seeds, mutations of them, and
//! what fuzzing kept (`inputs`).

mod adapter;
mod chat;
mod checkpoint;
mod dataset;
mod model;
mod record;
mod rewards;
mod server;
mod target;

pub use adapter::adapter;
pub use chat::chat;
pub use checkpoint::checkpoint;
pub use dataset::dataset;
pub use model::model;
pub use record::record;
pub use rewards::rewards;
pub use server::server;
pub use target::{Target, let_panics_be_caught};

/// All targets.
pub fn targets() -> Vec<Target> {
    vec![model(), chat(), adapter(), checkpoint(), dataset(), record(), rewards(), server()]
}
