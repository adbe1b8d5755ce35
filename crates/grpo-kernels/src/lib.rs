//! The transformer operations for which burn has no fast primitive on the CPU, with their gradients.
//!
//! The crate's one design decision: **an operation is composed of burn's own functions, and a kernel only makes it faster.**
//! With the feature `flex`, tensors in this process's memory go to kernels that read them once, with vector instructions and on
//! all cores. On every other device, and without the feature, the same function is composed of burn's operations. The tests
//! compare the two, values and gradients.
//!
//! Kernels reduce in an order that does not depend on the number of cores.

mod attention;
mod cached;
#[cfg(feature = "flex")]
mod cpu;
mod elementwise;
mod optimize;
mod product;
mod rope;
mod softmax;

pub use attention::{CausalAttention, Segment};
pub use cached::CachedAttention;
pub use elementwise::{rms_norm, swiglu, swiglu_product};
pub use optimize::{AdamWUpdate, sum_of_squares};
pub use product::{product, product_transposed};
pub use rope::Rope;
pub use softmax::{Statistics, softmax_vjp};

/// Returns `kernel` from the enclosing function if `tensor` is in this process's memory.
macro_rules! on_cpu {
    ($tensor:expr, $kernel:expr) => {
        #[cfg(feature = "flex")]
        if crate::cpu::is_host(&$tensor.device()) {
            return $kernel;
        }
    };
}
use on_cpu;

#[cfg(all(test, feature = "flex"))]
mod tests;
