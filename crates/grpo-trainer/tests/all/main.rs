//! One binary for all integration tests of the crate.

mod checkpoints;
mod collective;
mod common;
mod errors;
mod failures;
mod health;
mod lag;
mod lora;
mod objectives;
mod parts;
mod resume;
mod sft;
mod signal;
mod training;
