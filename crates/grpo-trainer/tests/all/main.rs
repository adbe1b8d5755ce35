//! One binary for all integration tests of the crate.

mod common;
mod failures;
mod lora;
mod objectives;
mod signal;
mod training;
