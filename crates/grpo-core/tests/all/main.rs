//! One binary for all integration tests of the crate.

mod advantage;
mod golden;
mod gradient;
mod regressions;
mod step;
mod worked_example;
