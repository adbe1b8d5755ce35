//! Products in f32 that burn does not have: with a matrix in half precision, and on a device where it would round f32 to TF32.

use burn::tensor::{DType, Device, Shape};
use burn_cubecl::kernel::matmul::init_matmul_output;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::tf32;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::routine::BlueprintStrategy;
use cubek::std::InputBinding;
use half::bf16;

use super::THREADS;
use super::ops::{element, elementwise, empty_like, groups, whole};

/// Numbers in BF16, of 8 bits each, whose sum is a number in f32.
const PARTS: usize = 3;

/// The most columns of a matrix that is narrow, as those of adapters are.
const NARROW: usize = 64;

/// Whether burn's product of f32 rounds to TF32 on `device`.
pub(super) fn rounds_to_tf32(device: &Device) -> bool {
    super::client(device).is_some_and(|client| has_tensor_cores(&client))
}

/// Those of NVIDIA's GPUs from Ampere on, which take TF32 and BF16.
fn has_tensor_cores(client: &Client) -> bool {
    client.properties().supports_type(tf32::elem_type_native())
}

/// `a · b` over the last two dimensions, of factors in any of these dtypes; products and sums are in f32.
pub(super) fn product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    if can_be_split(&a, &b) {
        product_of_parts(a, b)
    } else if is_narrow(&a, &b) {
        narrow_product(a, b)
    } else {
        product_of_units(a, b)
    }
}

/// Without tensor cores, which would round f32. A group of threads computes a tile, so that a narrow matrix occupies few of them.
fn product_of_units(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    launch(Strategy::SimpleUnit(Default::default()), a, b).expect("this strategy takes every shape")
}

/// Whether tensor cores take `b` and parts of `a`, all of which 32-bit indices can count.
fn can_be_split(a: &CubeTensor, b: &CubeTensor) -> bool {
    if a.meta.shape().num_dims() != 2 || a.dtype != DType::F32 || b.dtype != DType::BF16 {
        return false;
    }
    let [[rows, inner], [_, columns]] = [a, b].map(|x| x.meta.shape().dims::<2>());
    has_tensor_cores(&a.client) && PARTS * rows * inner.max(columns) <= u32::MAX as usize
}

/// Whether `b` has few columns, and 32-bit indices can count the numbers of both.
fn is_narrow(a: &CubeTensor, b: &CubeTensor) -> bool {
    if a.meta.shape().num_dims() != 2 || a.dtype != DType::F32 || b.dtype != DType::F32 {
        return false;
    }
    let [[rows, inner], [_, columns]] = [a, b].map(|x| x.meta.shape().dims::<2>());
    columns <= NARROW && inner * rows.max(columns) <= u32::MAX as usize
}

/// `a · b` of a narrow matrix: a group of threads computes a row.
fn narrow_product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    let (a, b) = (whole(a), whole(b));
    let [[rows, inner], [_, columns]] = [&a, &b].map(|x| x.meta.shape().dims::<2>());
    let out = empty_like(&a, [rows, columns]);
    let (client, count, threads) = (a.client.clone(), groups(&a, rows), CubeDim::new_1d(THREADS as u32));
    let (a, b) = (a.into_tensor_arg(), b.into_tensor_arg());
    let to = out.clone().into_tensor_arg();
    let width = columns.next_power_of_two();
    narrow_kernel::launch(&client, count, threads, a, b, to, rows, inner, columns, width, THREADS);
    out
}

/// `a · b` of a matrix in f32 and one in BF16, on tensor cores: they multiply numbers in BF16 exactly and add in f32, so the product is
/// the sum of those of the parts of `a`.
fn product_of_parts(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    let [[rows, inner], [_, columns]] = [&a, &b].map(|x| x.meta.shape().dims::<2>());
    let a = whole(a);
    let stacked = Shape::new([PARTS * rows, inner]);
    let parts = empty_device_contiguous_dtype(a.client.clone(), a.device.clone(), stacked, DType::BF16);
    let (count, threads) = elementwise(&a, rows * inner);
    let (from, to) = (a.clone().into_tensor_arg(), parts.clone().into_tensor_arg());
    split_kernel::launch(&a.client, count, threads, from, to, rows * inner, PARTS);

    let rows_together = SimpleArgs { multi_rows: true, ..SimpleArgs::default() };
    let strategy = Strategy::SimpleCyclicMma(BlueprintStrategy::Inferred(rows_together));
    let products = match launch(strategy, parts.clone(), b.clone()) {
        Err(MatmulSetupError::Unavailable(_)) => product_of_units(parts, b),
        products => products.expect("the strategy takes every shape"),
    };

    let out = empty_like(&products, [rows, columns]);
    let (count, threads) = elementwise(&out, rows * columns);
    let (from, to) = (products.into_tensor_arg(), out.clone().into_tensor_arg());
    sum_kernel::launch(&out.client, count, threads, from, to, rows * columns, PARTS);
    out
}

fn launch(strategy: Strategy, a: CubeTensor, b: CubeTensor) -> Result<CubeTensor, MatmulSetupError> {
    let out = init_matmul_output(&a, &b, DType::F32);
    let [lhs, rhs, of_out] = [&a, &b, &out].map(|x| element(x.dtype));
    let mut dtypes = MatmulElems::from_globals(&MatmulGlobalElems { lhs, rhs, out: of_out });
    let (a, b) = (InputBinding::new(a.binding(), lhs), InputBinding::new(b.binding(), rhs));
    launch_ref(&strategy.into(), &out.client, a, b, out.clone().binding(), &mut dtypes)?;
    Ok(out)
}

/// Each of `n` numbers as a sum of parts, the largest first; all first parts come before all second ones.
#[cube(launch)]
fn split_kernel(numbers: &Tensor<f32>, split: &mut Tensor<bf16>, n: usize, #[comptime] parts: usize) {
    let i = ABSOLUTE_POS;
    if i < n {
        let mut rest = numbers[i];
        #[unroll]
        for part in 0..parts {
            let rounded = bf16::cast_from(rest);
            split[part * n + i] = rounded;
            rest -= f32::cast_from(rounded);
        }
    }
}

/// The sums of the products of parts, the smallest first.
#[cube(launch)]
fn sum_kernel(products: &Tensor<f32>, sums: &mut Tensor<f32>, n: usize, #[comptime] parts: usize) {
    let i = ABSOLUTE_POS;
    if i < n {
        let mut sum = products[(parts - 1) * n + i];
        #[unroll]
        for part in 1..parts {
            sum += products[(parts - 1 - part) * n + i];
        }
        sums[i] = sum;
    }
}

/// `width` threads beside each other compute the columns, and those with the same column share its sum.
#[cube(launch)]
fn narrow_kernel(
    a: &Tensor<f32>,
    b: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rows: usize,
    inner: usize,
    columns: usize,
    #[comptime] width: usize,
    #[comptime] threads: usize,
) {
    let row = CUBE_POS;
    if row >= rows {
        terminate!();
    }
    let unit = UNIT_POS_X as usize;
    let column = unit % width;
    let mut shared = Shared::<[f32]>::new_slice(threads);
    let mut sum = 0.0f32;
    if column < columns {
        let mut i = unit / width;
        while i < inner {
            sum += a[row * inner + i] * b[i * columns + column];
            i += threads / width;
        }
    }
    shared[unit] = sum;
    sync_cube();
    let mut half = (threads / 2).runtime();
    while half >= width {
        if unit < half {
            shared[unit] += shared[unit + half];
        }
        sync_cube();
        half /= 2;
    }
    if unit < columns {
        out[row * columns + unit] = shared[unit];
    }
}
