//! One binary for all integration tests of the crate.

mod advantage;
mod golden;
mod gradient;
mod per_token;
mod recipe;
mod regressions;
mod step;
mod worked_example;
