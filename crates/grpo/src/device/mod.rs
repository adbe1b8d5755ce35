//! Compute devices, and the proof that they compute correctly.

mod cases;
mod child;
mod guard;
mod info;
mod kind;
mod prove;
mod self_test;
mod speed;
mod verdicts;

pub use burn::tensor::Device;
pub use child::serve_child;
pub(crate) use guard::guard;
pub use info::DeviceInfo;
pub use kind::{DeviceError, DeviceKind};
pub use prove::{Proof, Prover, prove, self_test, set_prover};
pub use self_test::{Failure, SelfTest, Subject, Verdict};
pub use speed::Speed;
