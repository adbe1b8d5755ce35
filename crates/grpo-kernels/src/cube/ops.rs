//! The kernels as operations of burn's, with and without fusion.

#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, backend_extension};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::Scalar;
use cubecl::{CubeCount, CubeDim, calculate_cube_count_elemwise};

use crate::AdamWUpdate;
use crate::draw::DrawOptions;

/// The operations; `super` says what they compute.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(crate) trait CubeOps: Backend {
    #[fusion(meta = |x, _term, _gamma, _epsilon| (x.clone(), x.clone()))]
    fn add_rms_norm(
        x: FloatTensor<Self>,
        term: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    #[fusion(meta = |x, _gamma, _dy, _epsilon| (x.clone(), x.clone()))]
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    #[fusion(meta = |gate, _up, _dy| (gate.clone(), gate.clone()))]
    fn swiglu_backward(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    #[fusion(dtype = x, shape = x)]
    fn rotate(x: FloatTensor<Self>, table: FloatTensor<Self>, sign: f32) -> FloatTensor<Self>;

    #[fusion(meta = |weight, _gradient, first, second, _update| {
        (weight.clone(), first.clone(), second.clone())
    })]
    fn adamw(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        update: AdamWUpdate,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    #[fusion(meta = |weight, _gradient, words, _update| (weight.clone(), words.clone()))]
    fn adamw_in_words(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        words: IntTensor<Self>,
        update: AdamWUpdate,
    ) -> (FloatTensor<Self>, IntTensor<Self>);

    #[fusion(meta = appended)]
    fn append(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        table: FloatTensor<Self>,
        places: IntTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    #[fusion(dtype = q, shape = q)]
    fn cached_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        places: IntTensor<Self>,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = logits, shape = Shape::new([rows[0], 4]))]
    fn draw(
        logits: FloatTensor<Self>,
        rows: IntTensor<Self>,
        uniforms: FloatTensor<Self>,
        options: DrawOptions,
    ) -> FloatTensor<Self>;
}

#[cfg(feature = "fusion")]
fn appended(
    qkv: &TensorSpec,
    _bias: &TensorSpec,
    _table: &TensorSpec,
    _places: &TensorSpec,
    k: &TensorSpec,
    v: &TensorSpec,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let [tokens, width] = qkv.shape.dims();
    let [_, kv_heads, _, dim] = k.shape.dims::<4>();
    (TensorSpec::new(Shape::new([tokens, width - 2 * kv_heads * dim]), qkv.dtype), k.clone(), v.clone())
}

impl CubeOps for CubeBackend {
    fn add_rms_norm(
        x: CubeTensor,
        term: CubeTensor,
        gamma: CubeTensor,
        epsilon: f32,
    ) -> (CubeTensor, CubeTensor) {
        super::norm::add_rms_norm(x, term, gamma, epsilon)
    }

    fn rms_norm_backward(
        x: CubeTensor,
        gamma: CubeTensor,
        dy: CubeTensor,
        epsilon: f32,
    ) -> (CubeTensor, CubeTensor) {
        super::norm::rms_norm_backward(x, gamma, dy, epsilon)
    }

    fn swiglu_backward(gate: CubeTensor, up: CubeTensor, dy: CubeTensor) -> (CubeTensor, CubeTensor) {
        super::swiglu::swiglu_backward(gate, up, dy)
    }

    fn rotate(x: CubeTensor, table: CubeTensor, sign: f32) -> CubeTensor {
        super::rope::rotate(x, table, sign)
    }

    fn adamw(
        weight: CubeTensor,
        gradient: CubeTensor,
        first: CubeTensor,
        second: CubeTensor,
        update: AdamWUpdate,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        super::adamw::adamw(weight, gradient, first, second, &update)
    }

    fn adamw_in_words(
        weight: CubeTensor,
        gradient: CubeTensor,
        words: CubeTensor,
        update: AdamWUpdate,
    ) -> (CubeTensor, CubeTensor) {
        super::adamw::adamw_in_words(weight, gradient, words, &update)
    }

    fn append(
        qkv: CubeTensor,
        bias: CubeTensor,
        table: CubeTensor,
        places: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        super::append::append(qkv, bias, table, places, [k, v])
    }

    fn cached_attention(q: CubeTensor, k: CubeTensor, v: CubeTensor, places: CubeTensor) -> CubeTensor {
        super::attention::cached_attention(q, k, v, places)
    }

    fn draw(logits: CubeTensor, rows: CubeTensor, uniforms: CubeTensor, options: DrawOptions) -> CubeTensor {
        super::draw::draw(logits, rows, uniforms, &options)
    }
}

/// The tensor in row-major order, as the kernels read it.
pub(super) fn whole(x: CubeTensor) -> CubeTensor {
    into_contiguous(x)
}

/// The tensor in row-major order, whose memory nothing else uses: a kernel may write to it.
pub(super) fn owned(x: CubeTensor) -> CubeTensor {
    let x = whole(x);
    if x.handle.can_mut() { x } else { whole(x.copy()) }
}

/// A tensor of f32 beside another, with nothing in it.
pub(super) fn empty_like<const D: usize>(other: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    empty_device_contiguous_dtype(other.client.clone(), other.device.clone(), Shape::new(shape), DType::F32)
}

/// How kernels see a dtype.
pub(super) fn element(dtype: DType) -> ElemType {
    match dtype {
        DType::F16 => half::f16::elem_type_native(),
        DType::BF16 => half::bf16::elem_type_native(),
        _ => f32::elem_type_native(),
    }
}

/// A thread for each of `n`, in groups of as many as work on a row.
pub(super) fn elementwise(x: &CubeTensor, n: usize) -> (CubeCount, CubeDim) {
    let threads = CubeDim::new_1d(super::THREADS as u32);
    (calculate_cube_count_elemwise(&x.client, n, threads), threads)
}

/// As many groups of threads as there are rows, in as many dimensions as the device needs.
pub(super) fn groups(x: &CubeTensor, rows: usize) -> CubeCount {
    calculate_cube_count_elemwise(&x.client, rows, CubeDim::new_single())
}
