//! Products in f32 that burn does not have: with a matrix in half precision, and on a device where it would round f32 to TF32.

use burn::tensor::{DType, Device};
use burn_cubecl::kernel::matmul::init_matmul_output;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::tf32;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::ops::element;

/// Whether burn's product of f32 rounds to TF32 on `device`.
pub(super) fn rounds_to_tf32(device: &Device) -> bool {
    super::client(device).is_some_and(|client| client.properties().supports_type(tf32::elem_type_native()))
}

/// `a · b` over the last two dimensions, of factors in any of these dtypes; products and sums are in f32.
pub(super) fn product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    let out = init_matmul_output(&a, &b, DType::F32);
    let [lhs, rhs, of_out] = [&a, &b, &out].map(|x| element(x.dtype));
    let mut dtypes = MatmulElems::from_globals(&MatmulGlobalElems { lhs, rhs, out: of_out });
    let (a, b) = (InputBinding::new(a.binding(), lhs), InputBinding::new(b.binding(), rhs));
    // Without instructions for matrices, which would round f32.
    let strategy = Strategy::MultiLevel(multi_level::Strategy::SimpleUnit(Default::default()));
    launch_ref(&strategy, &out.client, a, b, out.clone().binding(), &mut dtypes)
        .expect("this strategy takes every shape");
    out
}
