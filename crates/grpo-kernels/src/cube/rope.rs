use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::ops::{elementwise, empty_like, whole};

/// One thread per pair of numbers that rotate together.
#[cube(launch)]
fn rotate_kernel(
    x: &Tensor<f32>,
    table: &Tensor<f32>,
    y: &mut Tensor<f32>,
    heads: usize,
    sign: f32,
    #[comptime] dim: usize,
) {
    let half = dim / 2;
    let head = ABSOLUTE_POS / half;
    let start = head * dim + ABSOLUTE_POS - head * half;
    if start < y.len() {
        // `[cos, sin]` of the position
        let angle = head / heads * dim + ABSOLUTE_POS - head * half;
        let (first, second) = (x[start], x[start + half]);
        let (cos, sin) = (table[angle], table[angle + half] * sign);
        y[start] = first * cos - second * sin;
        y[start + half] = second * cos + first * sin;
    }
}

pub(super) fn rotate(x: CubeTensor, table: CubeTensor, sign: f32) -> CubeTensor {
    let (x, table) = (whole(x), whole(table));
    let [positions, heads, dim] = x.meta.shape().dims();
    let y = empty_like(&x, [positions, heads, dim]);
    let (count, threads) = elementwise(&x, positions * heads * dim / 2);
    let client = x.client.clone();
    rotate_kernel::launch(
        &client,
        count,
        threads,
        x.into_tensor_arg(),
        table.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        heads,
        sign,
        dim,
    );
    y
}
