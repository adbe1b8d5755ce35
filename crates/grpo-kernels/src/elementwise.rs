use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use crate::{on_cpu, on_cube, on_plain_cube, product};

/// `silu(gate) · up` of two `[rows, columns]` tensors in f32: the gated activation of an MLP (SwiGLU).
pub fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    on_cpu!(gate, crate::cpu::swiglu(gate, up));
    on_cube!(gate, crate::cube::swiglu(gate, up));
    composed_swiglu(gate, up)
}

fn composed_swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    silu(gate) * up
}

/// `swiglu(gate, up) · w` with `w` `[columns, out]`. For the backward pass, a kernel stores only the inputs, not the activation
/// between, which only the gradient with respect to `w` needs: recomputing it takes a hundredth of the product's time.
pub fn swiglu_product(gate: Tensor<2>, up: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::cpu::is_host(&gate.device()) && w.is_require_grad() {
        return crate::cpu::swiglu_product(gate, up, w);
    }
    product(swiglu(gate, up), w)
}

/// `x / √(mean(x²) + epsilon) · gamma` of `[rows, columns]` in f32, the mean over the columns; `gamma` has `[columns]`.
pub fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f64) -> Tensor<2> {
    on_cpu!(x, crate::cpu::rms_norm(x, gamma, epsilon));
    on_cube!(x, crate::cube::rms_norm(x, gamma, epsilon));
    composed_rms_norm(x, gamma, epsilon)
}

/// The sum `x + term`, and its [`rms_norm`].
pub fn add_rms_norm(x: Tensor<2>, term: Tensor<2>, gamma: Tensor<1>, epsilon: f64) -> (Tensor<2>, Tensor<2>) {
    on_plain_cube!(x, crate::cube::add_rms_norm(x, term, gamma, epsilon));
    let sum = x + term;
    (sum.clone(), rms_norm(sum, gamma, epsilon))
}

fn composed_rms_norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let scale = (x.clone().square().mean_dim(1) + epsilon).sqrt();
    x / scale * gamma.unsqueeze()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{check2, matrix};

    #[test]
    fn kernels_are_what_they_are_composed_of() {
        for (rows, columns) in [(1, 5), (3, 17), (70, 64), (300, 896)] {
            let (a, b) = (matrix(1, [rows, columns], 3.0), matrix(2, [rows, columns], 2.0));
            check2("swiglu", swiglu, composed_swiglu, a.clone(), b.clone(), 2e-6);
            let w = matrix(4, [columns, 33], 1.0);
            let [gate, up] = [a.clone(), b.clone()].map(|x| x.autodiff().require_grad());
            check2(
                "swiglu_product, with respect to its matrix",
                |x, w| swiglu_product(gate.clone() + x, up.clone(), w),
                |x, w| composed_swiglu(gate.clone() + x, up.clone()).matmul(w),
                a.zeros_like(),
                w,
                3e-6,
            );
            let gamma = matrix(3, [1, columns], 1.0).reshape([columns]);
            let norm = |x, gamma| rms_norm(x, gamma, 1e-6);
            let composed = |x, gamma| composed_rms_norm(x, gamma, 1e-6);
            check2("rms_norm", norm, composed, a, gamma, 3e-5);
        }
    }
}
