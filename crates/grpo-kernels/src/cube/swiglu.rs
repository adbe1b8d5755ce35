use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::ops::{elementwise, empty_like, whole};

#[cube(launch)]
fn swiglu_kernel(gate: &Tensor<f32>, up: &Tensor<f32>, y: &mut Tensor<f32>) {
    let i = ABSOLUTE_POS;
    if i < y.len() {
        let z = gate[i];
        y[i] = z / (1.0f32 + f32::exp(-z)) * up[i];
    }
}

#[cube(launch)]
fn swiglu_backward_kernel(
    gate: &Tensor<f32>,
    up: &Tensor<f32>,
    dy: &Tensor<f32>,
    dgate: &mut Tensor<f32>,
    dup: &mut Tensor<f32>,
) {
    let i = ABSOLUTE_POS;
    if i < dgate.len() {
        let (z, g) = (gate[i], dy[i]);
        let sigmoid = 1.0f32 / (1.0f32 + f32::exp(-z));
        dgate[i] = g * up[i] * sigmoid * (1.0f32 + z * (1.0f32 - sigmoid));
        dup[i] = g * z * sigmoid;
    }
}

pub(super) fn swiglu(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
    let (gate, up) = (whole(gate), whole(up));
    let [rows, columns] = gate.meta.shape().dims();
    let y = empty_like(&gate, [rows, columns]);
    let (count, threads) = elementwise(&gate, rows * columns);
    let client = gate.client.clone();
    swiglu_kernel::launch(
        &client,
        count,
        threads,
        gate.into_tensor_arg(),
        up.into_tensor_arg(),
        y.clone().into_tensor_arg(),
    );
    y
}

pub(super) fn swiglu_backward(gate: CubeTensor, up: CubeTensor, dy: CubeTensor) -> (CubeTensor, CubeTensor) {
    let (gate, up, dy) = (whole(gate), whole(up), whole(dy));
    let [rows, columns] = gate.meta.shape().dims();
    let (dgate, dup) = (empty_like(&gate, [rows, columns]), empty_like(&gate, [rows, columns]));
    let (count, threads) = elementwise(&gate, rows * columns);
    let client = gate.client.clone();
    swiglu_backward_kernel::launch(
        &client,
        count,
        threads,
        gate.into_tensor_arg(),
        up.into_tensor_arg(),
        dy.into_tensor_arg(),
        dgate.clone().into_tensor_arg(),
        dup.clone().into_tensor_arg(),
    );
    (dgate, dup)
}
