use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::ops::{element, elementwise, empty_like, owned, whole};

/// One thread per pair of numbers that rotate together, of the queries, the keys and the values of a token.
#[cube(launch)]
fn append_kernel<E: Float>(
    qkv: &Tensor<f32>,
    bias: &Tensor<f32>,
    table: &Tensor<f32>,
    places: &Tensor<i32>,
    q: &mut Tensor<f32>,
    k: &mut Tensor<E>,
    v: &mut Tensor<E>,
    heads: usize,
    slots: usize,
    #[comptime] kv_heads: usize,
    #[comptime] dim: usize,
    #[define(E)] _cached: ElemType,
) {
    let half = dim / 2;
    let all_heads = heads + 2 * kv_heads;
    let token = ABSOLUTE_POS / (all_heads * half);
    if token < places.len() / 2 {
        let (row, slot) = (places[2 * token] as usize, places[2 * token + 1] as usize);
        let rest = ABSOLUTE_POS - token * (all_heads * half);
        let head = rest / half;
        let i = rest - head * half;
        let source = (token * all_heads + head) * dim + i;
        let (first, second) =
            (qkv[source] + bias[head * dim + i], qkv[source + half] + bias[head * dim + i + half]);
        if head < heads + kv_heads {
            // `[cos, sin]` of the token's position
            let angle = slot * dim + i;
            let (cos, sin) = (table[angle], table[angle + half]);
            let turned = first * cos - second * sin;
            let other = second * cos + first * sin;
            if head < heads {
                let target = (token * heads + head) * dim + i;
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
    places: CubeTensor,
    [k, v]: [CubeTensor; 2],
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (qkv, bias, table, places) = (whole(qkv), whole(bias), whole(table), whole(places));
    let (k, v) = (owned(k), owned(v));
    let [tokens, width] = qkv.meta.shape().dims();
    let [_, kv_heads, slots, dim] = k.meta.shape().dims();
    let heads = width / dim - 2 * kv_heads;
    let q = empty_like(&qkv, [tokens, heads * dim]);
    let (count, threads) = elementwise(&qkv, tokens * width / 2);
    let (client, cached) = (qkv.client.clone(), element(k.dtype));
    append_kernel::launch(
        &client,
        count,
        threads,
        qkv.into_tensor_arg(),
        bias.into_tensor_arg(),
        table.into_tensor_arg(),
        places.into_tensor_arg(),
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        heads,
        slots,
        kv_heads,
        dim,
        cached,
    );
    (q, k, v)
}
