use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::ops::{empty_like, groups, whole};
use super::{THREADS, sum};

#[cube(launch)]
fn rms_norm_kernel(
    x: &Tensor<f32>,
    gamma: &Tensor<f32>,
    y: &mut Tensor<f32>,
    rows: usize,
    columns: usize,
    epsilon: f32,
    #[comptime] threads: usize,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let start = row * columns;
    let mut shared = Shared::<[f32]>::new_slice(threads);
    let mut squares = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < columns {
        let value = x[start + i];
        squares += value * value;
        i += threads;
    }
    let mean = sum(squares, &mut shared, threads) / f32::cast_from(columns);
    let scale = f32::sqrt(mean + epsilon);
    let mut i = UNIT_POS_X as usize;
    while i < columns {
        y[start + i] = x[start + i] / scale * gamma[i];
        i += threads;
    }
}

#[cube(launch)]
fn add_rms_norm_kernel(
    x: &Tensor<f32>,
    term: &Tensor<f32>,
    gamma: &Tensor<f32>,
    total: &mut Tensor<f32>,
    y: &mut Tensor<f32>,
    rows: usize,
    columns: usize,
    epsilon: f32,
    #[comptime] threads: usize,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let start = row * columns;
    let mut shared = Shared::<[f32]>::new_slice(threads);
    let mut squares = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < columns {
        let value = x[start + i] + term[start + i];
        total[start + i] = value;
        squares += value * value;
        i += threads;
    }
    let mean = sum(squares, &mut shared, threads) / f32::cast_from(columns);
    let scale = f32::sqrt(mean + epsilon);
    let mut i = UNIT_POS_X as usize;
    while i < columns {
        // The thread reads what it has written itself.
        y[start + i] = total[start + i] / scale * gamma[i];
        i += threads;
    }
}

/// The gradient with respect to `x`, and for every row its part of the gradient with respect to `gamma`.
#[cube(launch)]
fn rms_norm_backward_kernel(
    x: &Tensor<f32>,
    gamma: &Tensor<f32>,
    dy: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    dgamma: &mut Tensor<f32>,
    rows: usize,
    columns: usize,
    epsilon: f32,
    #[comptime] threads: usize,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let start = row * columns;
    let mut shared = Shared::<[f32]>::new_slice(threads);
    let mut squares = 0.0f32;
    let mut products = 0.0f32;
    let mut i = UNIT_POS_X as usize;
    while i < columns {
        let value = x[start + i];
        squares += value * value;
        products += value * gamma[i] * dy[start + i];
        i += threads;
    }
    let n = f32::cast_from(columns);
    let square = sum(squares, &mut shared, threads) / n + epsilon;
    let scale = f32::sqrt(square);
    let product = sum(products, &mut shared, threads) / (n * square);
    let mut i = UNIT_POS_X as usize;
    while i < columns {
        let (value, g) = (x[start + i], dy[start + i]);
        dx[start + i] = (g * gamma[i] - value * product) / scale;
        dgamma[start + i] = g * value / scale;
        i += threads;
    }
}

pub(super) fn rms_norm(x: CubeTensor, gamma: CubeTensor, epsilon: f32) -> CubeTensor {
    let (x, gamma) = (whole(x), whole(gamma));
    let [rows, columns] = x.meta.shape().dims();
    let y = empty_like(&x, [rows, columns]);
    let (client, count) = (x.client.clone(), groups(&x, rows));
    rms_norm_kernel::launch(
        &client,
        count,
        CubeDim::new_1d(THREADS as u32),
        x.into_tensor_arg(),
        gamma.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        rows,
        columns,
        epsilon,
        THREADS,
    );
    y
}

pub(super) fn add_rms_norm(
    x: CubeTensor,
    term: CubeTensor,
    gamma: CubeTensor,
    epsilon: f32,
) -> (CubeTensor, CubeTensor) {
    let (x, term, gamma) = (whole(x), whole(term), whole(gamma));
    let [rows, columns] = x.meta.shape().dims();
    let (total, y) = (empty_like(&x, [rows, columns]), empty_like(&x, [rows, columns]));
    let (client, count) = (x.client.clone(), groups(&x, rows));
    add_rms_norm_kernel::launch(
        &client,
        count,
        CubeDim::new_1d(THREADS as u32),
        x.into_tensor_arg(),
        term.into_tensor_arg(),
        gamma.into_tensor_arg(),
        total.clone().into_tensor_arg(),
        y.clone().into_tensor_arg(),
        rows,
        columns,
        epsilon,
        THREADS,
    );
    (total, y)
}

pub(super) fn rms_norm_backward(
    x: CubeTensor,
    gamma: CubeTensor,
    dy: CubeTensor,
    epsilon: f32,
) -> (CubeTensor, CubeTensor) {
    let (x, gamma, dy) = (whole(x), whole(gamma), whole(dy));
    let [rows, columns] = x.meta.shape().dims();
    let (dx, dgamma) = (empty_like(&x, [rows, columns]), empty_like(&x, [rows, columns]));
    let (client, count) = (x.client.clone(), groups(&x, rows));
    rms_norm_backward_kernel::launch(
        &client,
        count,
        CubeDim::new_1d(THREADS as u32),
        x.into_tensor_arg(),
        gamma.into_tensor_arg(),
        dy.into_tensor_arg(),
        dx.clone().into_tensor_arg(),
        dgamma.clone().into_tensor_arg(),
        rows,
        columns,
        epsilon,
        THREADS,
    );
    (dx, dgamma)
}
