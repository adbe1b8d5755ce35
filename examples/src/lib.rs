//! What the examples share: the choice of a device, the prompt of the task, and what a person sees of a run.

pub mod device;
pub mod display;
pub mod gsm8k;
pub mod memory;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
