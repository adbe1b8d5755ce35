//! The arithmetic that kernels and the sampler share: the same bits on every machine.

mod exp;

pub use exp::exp;
