use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::ops::{element, empty_like, groups, whole};
use super::{largest, sum};

/// Keys that are read together, one per thread.
const KEYS: usize = 128;

/// One group of threads per token and head walks the keys in blocks, with a running maximum and sum.
#[cube(launch)]
fn attention_kernel<E: Float>(
    q: &Tensor<f32>,
    k: &Tensor<E>,
    v: &Tensor<E>,
    places: &Tensor<i32>,
    y: &mut Tensor<f32>,
    heads: usize,
    slots: usize,
    scale: f32,
    #[comptime] kv_heads: usize,
    #[comptime] dim: usize,
    #[comptime] keys: usize,
    #[define(E)] _cached: ElemType,
) {
    let unit = UNIT_POS_X as usize;
    let group = CUBE_POS;
    let token = group / heads;
    if token >= places.len() / 2 {
        terminate!();
    }
    let head = group - token * heads;
    let (row, len) = (places[2 * token] as usize, places[2 * token + 1] as usize + 1);
    let kv = (row * kv_heads + head / (heads / kv_heads)) * slots * dim;
    let own = group * dim;

    let mut shared = Shared::<[f32]>::new_slice(keys);
    let mut masses = Shared::<[f32]>::new_slice(keys);
    let mut query = Shared::<[f32]>::new_slice(dim);
    let mut outputs = Shared::<[f32]>::new_slice(dim);
    let mut i = unit;
    while i < dim {
        query[i] = q[own + i] * scale;
        outputs[i] = 0.0f32;
        i += keys;
    }
    sync_cube();

    let mut high = f32::MIN.runtime();
    let mut total = 0.0f32.runtime();
    let mut block = 0usize.runtime();
    while block < len {
        let key = block + unit;
        let mut score = f32::MIN.runtime();
        if key < len {
            score = 0.0f32;
            let start = kv + key * dim;
            for i in 0..dim {
                score += query[i] * f32::cast_from(k[start + i]);
            }
        }
        let new = max(high, largest(score, &mut shared, keys));
        let mut mass = 0.0f32.runtime();
        if key < len {
            mass = f32::exp(score - new);
        }
        masses[unit] = mass;
        let shrink = f32::exp(high - new);
        total = total * shrink + sum(mass, &mut shared, keys);
        high = new;
        let seen = min(len - block, keys);
        let mut i = unit;
        while i < dim {
            let mut output = outputs[i] * shrink;
            for j in 0..seen {
                output += masses[j] * f32::cast_from(v[kv + (block + j) * dim + i]);
            }
            outputs[i] = output;
            i += keys;
        }
        sync_cube();
        block += keys;
    }
    let mut i = unit;
    while i < dim {
        y[own + i] = outputs[i] / total;
        i += keys;
    }
}

pub(super) fn cached_attention(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    places: CubeTensor,
) -> CubeTensor {
    let (q, k, v, places) = (whole(q), whole(k), whole(v), whole(places));
    let [tokens, width] = q.meta.shape().dims();
    let [_, kv_heads, slots, dim] = k.meta.shape().dims();
    let heads = width / dim;
    let y = empty_like(&q, [tokens, width]);
    let (client, count, cached) = (q.client.clone(), groups(&q, tokens * heads), element(k.dtype));
    attention_kernel::launch(
        &client,
        count,
        CubeDim::new_1d(KEYS as u32),
        q.into_tensor_arg(),
        k.into_tensor_arg(),
        v.into_tensor_arg(),
        places.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        heads,
        slots,
        (dim as f32).powf(-0.5),
        kv_heads,
        dim,
        KEYS,
        cached,
    );
    y
}
