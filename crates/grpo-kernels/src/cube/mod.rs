//! Kernels for the devices of CubeCL (Metal, Vulkan, WebGPU, CUDA), for what decoding does per token.
//!
//! Sums are in f32 and in a fixed order.

mod adamw;
mod append;
mod attention;
mod autodiff;
mod draw;
mod norm;
mod ops;
mod product;
mod rope;
mod swiglu;

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{DType, Device, Int, Tensor};
use cubecl::MemoryScope;
use cubecl::client::Client;
use cubecl::prelude::*;

use crate::draw::DrawOptions;
use crate::moments::Stored;
use crate::{AdamWUpdate, Moments};
use autodiff::DifferentiableOps;
use ops::CubeOps;

/// Threads that work on a row.
const THREADS: usize = 256;

/// Whether the kernels that have gradients run on `device`: a device of CubeCL.
pub(crate) fn is_cube(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Cube(_))
}

/// Whether all kernels do: a device of CubeCL, without autodiff.
pub(crate) fn is_plain_cube(device: &Device) -> bool {
    !device.is_autodiff() && is_cube(device)
}

/// None if `device` is not one of CubeCL.
fn client(device: &Device) -> Option<Client> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Cube(device) => Some(device.client()),
        #[allow(unreachable_patterns)] // without the CPU backend
        _ => None,
    }
}

/// Bytes that a device of CubeCL can hold, if it says so, and those of its largest tensor.
pub(crate) fn limits(device: &Device) -> Option<(Option<u64>, u64)> {
    client(device).map(|client| {
        let memory = &client.properties().memory;
        (memory.max_memory(), memory.max_page_size)
    })
}

/// Bytes that this process has reserved on a device of CubeCL.
pub(crate) fn reserved(device: &Device) -> Option<u64> {
    client(device).map(|client| client.memory_report(MemoryScope::Device).usage().bytes_reserved)
}

/// Whether a product with a matrix in `dtype` on `device` uses the kernel of this crate.
pub(crate) fn has_own_product(device: &Device, dtype: DType) -> bool {
    is_cube(device) && (dtype != DType::F32 || product::rounds_to_tf32(device))
}

/// `a · b` over the last two dimensions, in f32; `b` may be in half precision.
pub(crate) fn product<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::product(a.into_dispatch(), b.into_dispatch()))
}

pub(crate) fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let y = Dispatch::rms_norm(x.into_dispatch(), gamma.into_dispatch(), epsilon as f32);
    Tensor::from_dispatch(y)
}

pub(crate) fn add_rms_norm(
    x: Tensor<2>,
    term: Tensor<2>,
    gamma: Tensor<1>,
    epsilon: f64,
) -> (Tensor<2>, Tensor<2>) {
    let (x, term) = (x.into_dispatch(), term.into_dispatch());
    let (sum, y) = Dispatch::add_rms_norm(x, term, gamma.into_dispatch(), epsilon as f32);
    (Tensor::from_dispatch(sum), Tensor::from_dispatch(y))
}

pub(crate) fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::swiglu(gate.into_dispatch(), up.into_dispatch()))
}

/// Rotates heads `[positions, heads, head_dim]` by the cosines and sines in `table` `[positions, head_dim]`.
pub(crate) fn rotate(x: Tensor<3>, table: Tensor<2>) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::rotated(x.into_dispatch(), table.into_dispatch()))
}

pub(crate) fn adamw(
    update: &AdamWUpdate,
    weight: Tensor<1>,
    gradient: Tensor<1>,
    moments: Moments,
) -> (Tensor<1>, Moments) {
    let (weight, gradient) = (weight.into_dispatch(), gradient.into_dispatch());
    match moments.0 {
        Stored::F32([first, second]) => {
            let (first, second) = (first.into_dispatch(), second.into_dispatch());
            let (weight, first, second) = Dispatch::adamw(weight, gradient, first, second, *update);
            let moments = [first, second].map(Tensor::from_dispatch);
            (Tensor::from_dispatch(weight), Moments(Stored::F32(moments)))
        }
        Stored::Words(words) => {
            let (weight, words) = Dispatch::adamw_in_words(weight, gradient, words.into_dispatch(), *update);
            (Tensor::from_dispatch(weight), Moments(Stored::Words(Tensor::from_dispatch(words))))
        }
    }
}

/// Rotates, appends to the cache in place, and returns the queries `[rows, heads * head_dim]` and the cache.
pub(crate) fn append(
    qkv: Tensor<2>,
    bias: Tensor<1>,
    table: Tensor<2>,
    places: Tensor<1, Int>,
    [k, v]: [Tensor<4>; 2],
) -> (Tensor<2>, [Tensor<4>; 2]) {
    let (q, k, v) = Dispatch::append(
        qkv.into_dispatch(),
        bias.into_dispatch(),
        table.into_dispatch(),
        places.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
    );
    (Tensor::from_dispatch(q), [Tensor::from_dispatch(k), Tensor::from_dispatch(v)])
}

pub(crate) fn cached_attention(
    q: Tensor<2>,
    k: Tensor<4>,
    v: Tensor<4>,
    places: Tensor<1, Int>,
) -> Tensor<2> {
    let (k, v) = (k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(Dispatch::cached_attention(q.into_dispatch(), k, v, places.into_dispatch()))
}

/// For each draw: the token, its log-probability, the entropy, and the number of logits that are not finite.
pub(crate) fn draw(
    logits: Tensor<2>,
    rows: Tensor<1, Int>,
    uniforms: Tensor<2>,
    options: DrawOptions,
) -> Tensor<2> {
    let (rows, uniforms) = (rows.into_dispatch(), uniforms.into_dispatch());
    Tensor::from_dispatch(Dispatch::draw(logits.into_dispatch(), rows, uniforms, options))
}

/// The sum of a number of each thread, in a fixed order.
#[cube]
fn sum(value: f32, shared: &mut Shared<[f32]>, #[comptime] threads: usize) -> f32 {
    reduce(value, shared, false, threads)
}

/// The largest of a number of each thread.
#[cube]
fn largest(value: f32, shared: &mut Shared<[f32]>, #[comptime] threads: usize) -> f32 {
    reduce(value, shared, true, threads)
}

#[cube]
fn reduce(
    value: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] takes_largest: bool,
    #[comptime] threads: usize,
) -> f32 {
    let unit = UNIT_POS_X as usize;
    sync_cube();
    shared[unit] = value;
    sync_cube();
    let mut half = (threads / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = shared[unit + half];
            if takes_largest {
                shared[unit] = max(shared[unit], other);
            } else {
                shared[unit] += other;
            }
        }
        sync_cube();
        half /= 2;
    }
    shared[0]
}
