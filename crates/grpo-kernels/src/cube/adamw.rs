use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::ops::{elementwise, owned, whole};
use crate::AdamWUpdate;

#[cube(launch)]
fn adamw_kernel(
    weight: &mut Tensor<f32>,
    gradient: &Tensor<f32>,
    first: &mut Tensor<f32>,
    second: &mut Tensor<f32>,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    first_divisor: f32,
    second_divisor: f32,
    decay: f32,
    learning_rate: f32,
    gradient_scale: f32,
) {
    let i = ABSOLUTE_POS;
    if i < weight.len() {
        let g = gradient[i] * gradient_scale;
        let m = first[i] * beta1 + g * (1.0f32 - beta1);
        let v = second[i] * beta2 + g * g * (1.0f32 - beta2);
        let root = f32::sqrt(v / second_divisor) + epsilon;
        first[i] = m;
        second[i] = v;
        weight[i] = weight[i] * decay - m / first_divisor / root * learning_rate;
    }
}

pub(super) fn adamw(
    weight: CubeTensor,
    gradient: CubeTensor,
    first: CubeTensor,
    second: CubeTensor,
    update: &AdamWUpdate,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (gradient, factors) = (whole(gradient), update.factors());
    let (weight, first, second) = (owned(weight), owned(first), owned(second));
    let n = weight.meta.shape().num_elements();
    let (count, threads) = elementwise(&weight, n);
    adamw_kernel::launch(
        &weight.client,
        count,
        threads,
        weight.clone().into_tensor_arg(),
        gradient.into_tensor_arg(),
        first.clone().into_tensor_arg(),
        second.clone().into_tensor_arg(),
        update.beta1,
        update.beta2,
        update.epsilon,
        factors.first,
        factors.second,
        factors.decay,
        factors.learning_rate,
        factors.gradient,
    );
    (weight, first, second)
}
