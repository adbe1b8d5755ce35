use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::ops::{element, elementwise, empty_like, owned, whole};

/// One thread per pair of numbers that rotate together, of the queries, the keys and the values of a row.
#[cube(launch)]
fn append_kernel<E: Float>(
    qkv: &Tensor<f32>,
    bias: &Tensor<f32>,
    table: &Tensor<f32>,
    starts: &Tensor<i32>,
    q: &mut Tensor<f32>,
    k: &mut Tensor<E>,
    v: &mut Tensor<E>,
    heads: usize,
    slot: usize,
    slots: usize,
    #[comptime] kv_heads: usize,
    #[comptime] dim: usize,
    #[define(E)] _cached: ElemType,
) {
    let half = dim / 2;
    let all_heads = heads + 2 * kv_heads;
    let row = ABSOLUTE_POS / (all_heads * half);
    if row < starts.len() {
        let rest = ABSOLUTE_POS - row * (all_heads * half);
        let head = rest / half;
        let i = rest - head * half;
        let source = (row * all_heads + head) * dim + i;
        let (first, second) =
            (qkv[source] + bias[head * dim + i], qkv[source + half] + bias[head * dim + i + half]);
        if head < heads + kv_heads {
            // `[cos, sin]` of the row's position
            let angle = (slot - starts[row] as usize) * dim + i;
            let (cos, sin) = (table[angle], table[angle + half]);
            let turned = first * cos - second * sin;
            let other = second * cos + first * sin;
            if head < heads {
                let target = (row * heads + head) * dim + i;
                q[target] = turned;
                q[target + half] = other;
            } else {
                let target = ((row * kv_heads + head - heads) * slots + slot) * dim + i;
                k[target] = E::cast_from(turned);
                k[target + half] = E::cast_from(other);
            }
        } else {
            let target = ((row * kv_heads + head - heads - kv_heads) * slots + slot) * dim + i;
            v[target] = E::cast_from(first);
            v[target + half] = E::cast_from(second);
        }
    }
}

pub(super) fn append(
    qkv: CubeTensor,
    bias: CubeTensor,
    table: CubeTensor,
    starts: CubeTensor,
    [k, v]: [CubeTensor; 2],
    slot: usize,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (qkv, bias, table, starts) = (whole(qkv), whole(bias), whole(table), whole(starts));
    let (k, v) = (owned(k), owned(v));
    let [rows, width] = qkv.meta.shape().dims();
    let [_, kv_heads, slots, dim] = k.meta.shape().dims();
    let heads = width / dim - 2 * kv_heads;
    let q = empty_like(&qkv, [rows, heads * dim]);
    let (count, threads) = elementwise(&qkv, rows * width / 2);
    let (client, cached) = (qkv.client.clone(), element(k.dtype));
    append_kernel::launch(
        &client,
        count,
        threads,
        qkv.into_tensor_arg(),
        bias.into_tensor_arg(),
        table.into_tensor_arg(),
        starts.into_tensor_arg(),
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        heads,
        slot,
        slots,
        kv_heads,
        dim,
        cached,
    );
    (q, k, v)
}
