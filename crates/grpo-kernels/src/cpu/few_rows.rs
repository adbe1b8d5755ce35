//! Products of a few rows with a large matrix, as in decoding. They are bound by reading the matrix, so it is read once, front
//! to back, and each number is used for all rows while it is in a register.
//!
//! The result for a row is bitwise independent of the other rows and of the number of cores: the order of additions along the
//! inner dimension follows from the shape of the matrix alone.
//!
//! In a product with a BF16 matrix, its columns are read in pairs: a pair shifted left is its first number in F32; with its
//! lower half cleared, it is the second. So even and odd columns are in separate vectors, and the output puts them back in
//! order.

use std::ops::Range;

use burn::tensor::DType;
use half::bf16;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::extension::{Host, dims, host, values};

/// The most rows for which this is faster than a blocked product.
const MOST_ROWS: usize = 32;
/// Rows of the matrix that are processed together: each running output is loaded and stored once for all of them.
const DEPTH: usize = 8;
/// The most columns of an `[in, out]` matrix, or rows of an `[out, in]` one, per task.
const TASK: usize = 4096;
/// Up to this number of columns, an `[in, out]` matrix is split by rows, [`DEPTHS`] per task.
const FEW_COLUMNS: usize = 1024;
const DEPTHS: usize = 448;
/// Numbers in the widest pair of vectors: dimensions must be multiples of this.
const UNIT: usize = 32;

/// Whether [`product`] and [`product_transposed`] support these shapes.
pub(crate) fn fits(rows: usize, inner: usize, columns: usize) -> bool {
    rows <= MOST_ROWS && inner.is_multiple_of(UNIT) && columns.is_multiple_of(UNIT)
}

/// `x · w`: `[rows, inner] · [inner, columns]`; `w` in F32 or BF16.
pub(crate) fn product(x: &Host, w: &Host) -> Host {
    let ([rows, inner], [_, columns]) = (dims(x), dims(w));
    let (x, w) = (values(x), Matrix::of(w));
    let part = |depths: Range<usize>, at: Range<usize>| {
        let mut y = vec![0.0; rows * at.len()];
        pulp::Arch::new().dispatch(Product { x, inner, w, columns, depths, at, y: &mut y });
        y
    };
    let y = if columns > FEW_COLUMNS {
        gather(&tasks(columns, |at| part(0..inner, at)), rows, columns)
    } else {
        // Whole rows of the matrix, so that each task reads contiguous memory.
        let depths: Vec<usize> = (0..inner).step_by(DEPTHS).collect();
        let parts: Vec<Vec<f32>> =
            depths.into_par_iter().map(|i| part(i..(i + DEPTHS).min(inner), 0..columns)).collect();
        let add = |sum: Vec<f32>, part: Vec<f32>| sum.iter().zip(part).map(|(a, b)| a + b).collect();
        parts.into_iter().reduce(add).unwrap_or_default()
    };
    host(y, [rows, columns])
}

/// `x · wᵀ`: `[rows, inner] · [columns, inner]ᵀ`; `w` in F32 or BF16.
pub(crate) fn product_transposed(x: &Host, w: &Host) -> Host {
    let ([rows, inner], [columns, _]) = (dims(x), dims(w));
    let (x, w) = (values(x), Matrix::of(w));
    let parts = tasks(columns, |at| {
        let mut y = vec![0.0; rows * at.len()];
        pulp::Arch::new().dispatch(ProductTransposed { x, inner, w, at, y: &mut y });
        y
    });
    host(gather(&parts, rows, columns), [rows, columns])
}

#[derive(Clone, Copy)]
enum Matrix<'a> {
    F32(&'a [f32]),
    /// Pairs of BF16 numbers.
    Bf16(&'a [u32]),
}

impl<'a> Matrix<'a> {
    fn of(w: &'a Host) -> Self {
        match w.dtype() {
            DType::BF16 => {
                let numbers: &[bf16] = w.as_slice().expect("kernels get tensors in row-major order");
                Self::Bf16(pulp::bytemuck::cast_slice(numbers))
            }
            _ => Self::F32(values(w)),
        }
    }
}

/// Calls `f` for parts of `0..columns`, on all cores.
fn tasks(columns: usize, f: impl Fn(Range<usize>) -> Vec<f32> + Sync) -> Vec<Vec<f32>> {
    let share = columns.div_ceil(rayon::current_num_threads()).next_multiple_of(UNIT);
    let width = share.min(TASK);
    let starts: Vec<usize> = (0..columns).step_by(width).collect();
    starts.into_par_iter().map(|start| f(start..(start + width).min(columns))).collect()
}

/// The matrix `[rows, columns]` whose columns are the `parts`, side by side.
fn gather(parts: &[Vec<f32>], rows: usize, columns: usize) -> Vec<f32> {
    let mut y = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for part in parts {
            let width = part.len() / rows;
            y.extend_from_slice(&part[row * width..][..width]);
        }
    }
    y
}

/// Both vectors of pairs: the even numbers and the odd ones.
#[inline(always)]
fn even<S: Simd>(simd: S, pairs: S::u32s) -> S::f32s {
    simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(pairs, simd.splat_u32s(16)))
}

#[inline(always)]
fn odd<S: Simd>(simd: S, pairs: S::u32s) -> S::f32s {
    simd.transmute_f32s_u32s(simd.and_u32s(pairs, simd.splat_u32s(0xFFFF_0000)))
}

/// The columns `at` of a product.
struct Product<'a> {
    x: &'a [f32],
    inner: usize,
    w: Matrix<'a>,
    columns: usize,
    /// The rows of the matrix that count.
    depths: Range<usize>,
    at: Range<usize>,
    /// `[rows, at.len()]`, zero.
    y: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, inner, w, columns, depths, at, y } = self;
        for depth in depths.step_by(DEPTH) {
            let (y, _) = S::as_mut_simd_f32s(y);
            match w {
                Matrix::F32(w) => {
                    let mut rows: [&[S::f32s]; DEPTH] = [&[]; DEPTH];
                    for (i, row) in rows.iter_mut().enumerate() {
                        *row = S::as_simd_f32s(&w[(depth + i) * columns..][at.clone()]).0;
                    }
                    add_rows::<S, F32Rows<'_, S>>(simd, F32Rows(rows), x, inner, depth, y);
                }
                Matrix::Bf16(w) => {
                    let mut rows: [&[S::u32s]; DEPTH] = [&[]; DEPTH];
                    for (i, row) in rows.iter_mut().enumerate() {
                        let row_of_w = &w[(depth + i) * columns / 2..][at.start / 2..at.end / 2];
                        *row = S::as_simd_u32s(row_of_w).0;
                    }
                    add_rows::<S, Bf16Rows<'_, S>>(simd, Bf16Rows(rows), x, inner, depth, y);
                }
            }
        }
        if let Matrix::Bf16(_) = w {
            let mut zipped = vec![0.0; 2 * S::F32_LANES];
            for pairs in y.chunks_exact_mut(2 * S::F32_LANES) {
                for (i, zipped) in zipped.chunks_exact_mut(2).enumerate() {
                    (zipped[0], zipped[1]) = (pairs[i], pairs[i + S::F32_LANES]);
                }
                pairs.copy_from_slice(&zipped);
            }
        }
    }
}

/// [`DEPTH`] rows of a matrix.
trait Rows<S: Simd>: Copy {
    /// The vector of output `column` of each.
    fn load(self, simd: S, column: usize) -> [S::f32s; DEPTH];
}

struct F32Rows<'a, S: Simd>([&'a [S::f32s]; DEPTH]);
struct Bf16Rows<'a, S: Simd>([&'a [S::u32s]; DEPTH]);

impl<S: Simd> Clone for F32Rows<'_, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<S: Simd> Copy for F32Rows<'_, S> {}
impl<S: Simd> Clone for Bf16Rows<'_, S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}
impl<S: Simd> Copy for Bf16Rows<'_, S> {}

impl<S: Simd> Rows<S> for F32Rows<'_, S> {
    #[inline(always)]
    fn load(self, simd: S, column: usize) -> [S::f32s; DEPTH] {
        let mut vectors = [simd.splat_f32s(0.0); DEPTH];
        for (vector, row) in vectors.iter_mut().zip(self.0) {
            *vector = row[column];
        }
        vectors
    }
}

impl<S: Simd> Rows<S> for Bf16Rows<'_, S> {
    #[inline(always)]
    fn load(self, simd: S, column: usize) -> [S::f32s; DEPTH] {
        let mut vectors = [simd.splat_f32s(0.0); DEPTH];
        for (vector, row) in vectors.iter_mut().zip(self.0) {
            let pairs = row[column / 2];
            *vector = if column.is_multiple_of(2) { even(simd, pairs) } else { odd(simd, pairs) };
        }
        vectors
    }
}

/// Adds to all rows of `y` the products of the columns `depth..depth + DEPTH` of `x` with rows of the matrix.
#[inline(always)]
fn add_rows<S: Simd, W: Rows<S>>(simd: S, w: W, x: &[f32], inner: usize, depth: usize, y: &mut [S::f32s]) {
    let vectors = y.len() / (x.len() / inner);
    let mut x = x.chunks_exact(inner).map(
        #[inline(always)]
        |x| &x[depth..depth + DEPTH],
    );
    let mut blocks = y.chunks_exact_mut(8 * vectors);
    for y in &mut blocks {
        add_block::<S, W, 8>(simd, w, &mut x, y, vectors);
    }
    let mut blocks = blocks.into_remainder().chunks_exact_mut(4 * vectors);
    for y in &mut blocks {
        add_block::<S, W, 4>(simd, w, &mut x, y, vectors);
    }
    for y in blocks.into_remainder().chunks_exact_mut(vectors) {
        add_block::<S, W, 1>(simd, w, &mut x, y, vectors);
    }
}

/// The same for `R` rows, whose numbers `x` yields in order.
#[inline(always)]
fn add_block<'a, S: Simd, W: Rows<S>, const R: usize>(
    simd: S,
    w: W,
    x: &mut impl Iterator<Item = &'a [f32]>,
    y: &mut [S::f32s],
    vectors: usize,
) {
    let mut own = [[0.0; DEPTH]; R];
    for own in &mut own {
        own.copy_from_slice(x.next().expect("x has a row for each of y"));
    }
    let mut y = y.chunks_exact_mut(vectors);
    let rows = std::array::from_fn(
        #[inline(always)]
        |_| y.next().expect("y has R rows"),
    );
    // With two vectors, a number of x is loaded once for both; they fit if there are 32 registers.
    if S::REGISTER_COUNT >= 32 {
        add_columns::<S, W, R, 2>(simd, w, &own, rows, vectors);
    } else {
        add_columns::<S, W, R, 1>(simd, w, &own, rows, vectors);
    }
}

/// The same, `C` vectors at a time; their number must be a multiple of `C`.
#[inline(always)]
fn add_columns<S: Simd, W: Rows<S>, const R: usize, const C: usize>(
    simd: S,
    w: W,
    x: &[[f32; DEPTH]; R],
    y: [&mut [S::f32s]; R],
    vectors: usize,
) {
    for column in (0..vectors + 1 - C).step_by(C) {
        let mut loaded = [[simd.splat_f32s(0.0); DEPTH]; C];
        for (c, loaded) in loaded.iter_mut().enumerate() {
            *loaded = w.load(simd, column + c);
        }
        for row in 0..R {
            let mut sums = [simd.splat_f32s(0.0); C];
            sums.copy_from_slice(&y[row][column..column + C]);
            for i in 0..DEPTH {
                let x = simd.splat_f32s(x[row][i]);
                for c in 0..C {
                    sums[c] = simd.mul_add_e_f32s(x, loaded[c][i], sums[c]);
                }
            }
            y[row][column..column + C].copy_from_slice(&sums);
        }
    }
}

/// Rows of an `[out, in]` matrix whose dot products are computed together.
const DOTS: usize = 4;

/// The columns `at` of a product with a transposed matrix.
struct ProductTransposed<'a> {
    x: &'a [f32],
    inner: usize,
    w: Matrix<'a>,
    at: Range<usize>,
    /// `[rows, at.len()]`
    y: &'a mut [f32],
}

impl WithSimd for ProductTransposed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, inner, w, at, y } = self;
        let vectors = inner / S::F32_LANES;
        let (x, _) = S::as_simd_f32s(x);
        let mut buffer = vec![0.0; DOTS * inner];
        for column in (0..at.len()).step_by(DOTS) {
            let start = (at.start + column) * inner;
            let w = match w {
                // The copy is read front to back, which is the fastest way to read memory, and stays in cache for all rows of
                // x.
                Matrix::F32(w) => {
                    buffer.copy_from_slice(&w[start..][..DOTS * inner]);
                    S::as_simd_f32s(&buffer).0
                }
                Matrix::Bf16(w) => {
                    let pairs = &w[start / 2..][..DOTS * inner / 2];
                    let bits: &[u16] = pulp::bytemuck::cast_slice(pairs);
                    for (number, bits) in buffer.iter_mut().zip(bits) {
                        *number = f32::from_bits(u32::from(*bits) << 16);
                    }
                    S::as_simd_f32s(&buffer).0
                }
            };
            let mut outputs = y.chunks_exact_mut(at.len());
            let mut blocks = x.chunks_exact(4 * vectors);
            for x in &mut blocks {
                for sums in dots::<S, 4>(simd, x, w, vectors) {
                    let output = outputs.next().expect("y has a row for each of x");
                    output[column..column + DOTS].copy_from_slice(&sums);
                }
            }
            for x in blocks.remainder().chunks_exact(vectors) {
                let [sums] = dots::<S, 1>(simd, x, w, vectors);
                let output = outputs.next().expect("y has a row for each of x");
                output[column..column + DOTS].copy_from_slice(&sums);
            }
        }
    }
}

#[inline(always)]
fn dots<S: Simd, const R: usize>(simd: S, x: &[S::f32s], w: &[S::f32s], vectors: usize) -> [[f32; DOTS]; R] {
    let mut sums = [[simd.splat_f32s(0.0); DOTS]; R];
    let (x, w) = (&x[..R * vectors], &w[..DOTS * vectors]);
    for i in 0..vectors {
        for row in 0..R {
            for column in 0..DOTS {
                let product = (x[row * vectors + i], w[column * vectors + i]);
                sums[row][column] = simd.mul_add_e_f32s(product.0, product.1, sums[row][column]);
            }
        }
    }
    let mut found = [[0.0; DOTS]; R];
    for row in 0..R {
        for column in 0..DOTS {
            found[row][column] = simd.reduce_sum_f32s(sums[row][column]);
        }
    }
    found
}

#[cfg(test)]
#[path = "few_rows_tests.rs"]
mod tests;
