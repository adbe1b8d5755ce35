//! The transformer operations for which burn has no fast primitive on the CPU, with their gradients.
//!
//! The crate's one design decision: **an operation is composed of burn's own functions, and a kernel only makes it faster.**
//! With the feature `flex`, tensors in this process's memory go to kernels that read them once, with vector instructions and on
//! all cores. On every other device, and without the feature, the same function is composed of burn's operations. The tests
//! compare the two, values and gradients. (One function works on the bits of numbers, for which burn has no operation: AdamW with
//! moments in BF16 is composed on the host.)
//!
//! Kernels reduce in an order that does not depend on the number of cores.

mod attention;
mod cached;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod decode;
mod draw;
mod elementwise;
mod memory;
mod moments;
mod optimize;
mod product;
mod rope;
mod softmax;
mod transfer;

pub use attention::{CausalAttention, Segment};
pub use cached::{CachedAttention, Place};
pub use decode::DeviceAttention;
pub use draw::{DeviceDraw, DrawOptions, decodes_on, draw};
pub use elementwise::{add_rms_norm, rms_norm, swiglu, swiglu_product};
pub use memory::DeviceMemory;
pub use moments::Moments;
pub use optimize::{AdamWUpdate, SumOfSquares};
pub use product::{for_matmul, half_precision, matmul, product, product_transposed, supports_matrices_in};
pub use rope::Rope;
pub use softmax::{Statistics, softmax_vjp};
pub use transfer::{Transfers, float_tensor, int_tensor, to_host};

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

/// Returns `kernel` from the enclosing function if `tensor` is on a device of CubeCL, without autodiff.
macro_rules! on_plain_cube {
    ($tensor:expr, $kernel:expr) => {
        #[cfg(feature = "cube")]
        if crate::cube::is_plain_cube(&$tensor.device()) {
            return $kernel;
        }
    };
}
use on_plain_cube;

/// Returns `kernel` from the enclosing function if `tensor` is on a device of CubeCL.
macro_rules! on_cube {
    ($tensor:expr, $kernel:expr) => {
        #[cfg(feature = "cube")]
        if crate::cube::is_cube(&$tensor.device()) {
            return $kernel;
        }
    };
}
use on_cube;

#[cfg(feature = "cube")]
use cube::{is_cube, is_plain_cube};

#[cfg(not(feature = "cube"))]
fn is_cube(_: &burn::tensor::Device) -> bool {
    false
}

#[cfg(not(feature = "cube"))]
fn is_plain_cube(_: &burn::tensor::Device) -> bool {
    false
}

#[cfg(all(test, feature = "flex"))]
mod tests;
