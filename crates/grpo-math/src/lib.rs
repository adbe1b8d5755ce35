//! The arithmetic that kernels and the sampler share: bitwise the same on every machine.

mod exp;

pub use exp::exp;
