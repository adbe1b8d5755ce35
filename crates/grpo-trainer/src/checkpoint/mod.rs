//! Checkpoints on the disk.

mod error;
mod json;
mod manifest;
mod store;

pub use error::CheckpointError;
pub(crate) use json::{read_text, write_json};
pub use store::{Checkpoint, Checkpoints, Latest};
