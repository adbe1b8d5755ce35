//! Kernels for tensors in this process's memory.

mod attention;
mod bf16_product;
mod cached;
mod extension;
mod few_rows;
mod optimize;
mod rms_norm;
mod rope;
mod simd;
mod softmax;
mod swiglu;

use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use extension::{apply, from_host, int_from_host, int_to_host, to_host};

use crate::moments::Stored;
use crate::{AdamWUpdate, Moments, Place, Segment};

pub(crate) use extension::is_host;

pub(crate) fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    apply(swiglu::Swiglu, [gate.into(), up.into()])
}

pub(crate) fn swiglu_product(gate: Tensor<2>, up: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    apply(swiglu::SwigluProduct, [gate.into(), up.into(), w.into()])
}

pub(crate) fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f64) -> Tensor<2> {
    apply(rms_norm::RmsNorm { epsilon: epsilon as f32 }, [x.into(), gamma.into()])
}

pub(crate) fn rotate(x: Tensor<3>, cos: &Arc<Vec<f32>>, sin: &Arc<Vec<f32>>) -> Tensor<3> {
    apply(rope::Rotate { cos: cos.clone(), sin: sin.clone() }, [x.into()])
}

pub(crate) fn causal_attention(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    segments: &Arc<Vec<Segment>>,
) -> Tensor<2> {
    apply(attention::CausalAttention { segments: segments.clone() }, [q.into(), k.into(), v.into()])
}

pub(crate) fn append(cache: Tensor<4>, new: Tensor<3>, places: &[Place]) -> Tensor<4> {
    let mut cache = to_host(cache);
    cached::append(&mut cache, &to_host(new), places);
    from_host(cache)
}

pub(crate) fn cached_attention(q: Tensor<3>, k: Tensor<4>, v: Tensor<4>, places: &[Place]) -> Tensor<2> {
    from_host(cached::attention(&to_host(q), &to_host(k), &to_host(v), places))
}

/// Whether the kernels for few rows support a product of `x` with `w` or `wᵀ`.
pub(crate) fn few_rows(x: &Tensor<2>, w: &Tensor<2>) -> bool {
    let plain = !x.device().is_autodiff() && !w.device().is_autodiff();
    let known = x.dtype() == DType::F32 && matches!(w.dtype(), DType::F32 | DType::BF16);
    is_host(&x.device()) && plain && known && few_rows::fits(x.dims()) && w.dims().iter().all(|n| *n > 0)
}

pub(crate) fn product(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    from_host(few_rows::product(&to_host(x), &to_host(w)))
}

pub(crate) fn bf16_product(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    apply(bf16_product::Bf16Product, [x.into(), w.into()])
}

pub(crate) fn product_transposed(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    from_host(few_rows::product_transposed(&to_host(x), &to_host(w)))
}

pub(crate) fn statistics(z: Tensor<2>) -> Tensor<2> {
    from_host(softmax::statistics(&to_host(z)))
}

pub(crate) fn softmax_vjp(z: Tensor<2>, log_sum_exp: Tensor<2>, g: Tensor<2>) -> Tensor<2> {
    from_host(softmax::vjp(&to_host(z), &to_host(log_sum_exp), &to_host(g)))
}

pub(crate) fn adamw(
    update: &AdamWUpdate,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    moments: Moments,
) -> (Tensor<1>, Moments) {
    let (mut weight, gradient) = (to_host(weight), to_host(gradient));
    let moments = match moments.0 {
        Stored::F32(moments) => {
            let [mut first, mut second] = moments.map(to_host);
            optimize::adamw(update, &mut weight, &gradient, [&mut first, &mut second]);
            Stored::F32([first, second].map(from_host))
        }
        Stored::Words(words) => {
            let mut words = int_to_host(words);
            optimize::adamw_in_words(update, &mut weight, &gradient, &mut words);
            Stored::Words(int_from_host(words))
        }
    };
    (from_host(weight), Moments(moments))
}

pub(crate) fn sum_of_squares<const D: usize>(x: Tensor<D>) -> f64 {
    optimize::sum_of_squares(&to_host(x))
}
