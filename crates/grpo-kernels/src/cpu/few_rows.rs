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

use super::bf16_product::to_f32;
use super::extension::{Host, dims, host, values};

/// The most rows. A blocked product, which is faster for many, rounds differently for different numbers of them, so this exceeds the
/// usual number of rows that are decoded together.
const MOST_ROWS: usize = 128;
/// Rows of the matrix that are processed together: each running output is loaded and stored once for all of them.
const DEPTH: usize = 8;
/// The most columns of an `[in, out]` matrix, or rows of an `[out, in]` one, per task.
const TASK: usize = 4096;
/// Up to this number of columns, an `[in, out]` matrix is split by rows, [`DEPTHS`] per task.
const FEW_COLUMNS: usize = 1024;
const DEPTHS: usize = 448;
/// Numbers in the widest pair of vectors.
const UNIT: usize = 32;
/// Numbers in the widest vector.
const VECTOR: usize = 16;

/// Whether `x` of this shape has few rows, but some.
pub(crate) fn fits([rows, inner]: [usize; 2]) -> bool {
    (1..=MOST_ROWS).contains(&rows) && inner > 0
}

/// `x · w`: `[rows, inner] · [inner, columns]`; `w` in F32 or BF16.
pub(crate) fn product(x: &Host, w: &Host) -> Host {
    let ([rows, inner], [_, columns]) = (dims(x), dims(w));
    // Pairs of numbers need whole vectors.
    let in_f32 = (w.dtype() == DType::BF16 && !columns.is_multiple_of(UNIT)).then(|| to_f32(w));
    let (x, w) = (values(x), Matrix::of(in_f32.as_ref().unwrap_or(w)));
    let part = |w: Matrix<'_>, columns: usize, depths: Range<usize>, at: Range<usize>| {
        let mut y = vec![0.0; rows * at.len()];
        pulp::Arch::new().dispatch(Product { x, inner, w, columns, depths, at, y: &mut y });
        y
    };
    let whole = columns / VECTOR * VECTOR;
    let mut parts = if whole > FEW_COLUMNS {
        tasks(whole, |at| part(w, columns, 0..inner, at))
    } else if whole == 0 {
        Vec::new()
    } else {
        // Whole rows of the matrix, so that each task reads contiguous memory.
        let depths: Vec<usize> = (0..inner).step_by(DEPTHS).collect();
        let parts: Vec<Vec<f32>> =
            depths.into_par_iter().map(|i| part(w, columns, i..(i + DEPTHS).min(inner), 0..whole)).collect();
        let add = |sum: Vec<f32>, part: Vec<f32>| sum.iter().zip(part).map(|(a, b)| a + b).collect();
        parts.into_iter().reduce(add).into_iter().collect()
    };
    if let (Matrix::F32(w), 1..) = (w, columns - whole) {
        // The last columns, beside zeros.
        let mut last = vec![0.0; inner * VECTOR];
        for (last, w) in last.chunks_exact_mut(VECTOR).zip(w.chunks_exact(columns)) {
            last[..columns - whole].copy_from_slice(&w[whole..]);
        }
        let y = part(Matrix::F32(&last), VECTOR, 0..inner, 0..VECTOR);
        parts.push(y.chunks_exact(VECTOR).flat_map(|y| &y[..columns - whole]).copied().collect());
    }
    host(gather(&parts, rows, columns), [rows, columns])
}

/// `x · wᵀ`: `[rows, inner] · [columns, inner]ᵀ`; `w` in F32 or BF16.
pub(crate) fn product_transposed(x: &Host, w: &Host) -> Host {
    let ([rows, inner], [columns, _]) = (dims(x), dims(w));
    let width = inner.next_multiple_of(VECTOR);
    let copy = (width > inner).then(|| widened(values(x), inner, width));
    let (x, w) = (copy.as_deref().unwrap_or(values(x)), Matrix::of(w));
    let parts = tasks(columns, |at| {
        let mut y = vec![0.0; rows * at.len()];
        pulp::Arch::new().dispatch(ProductTransposed { x, width, inner, w, at, y: &mut y });
        y
    });
    host(gather(&parts, rows, columns), [rows, columns])
}

#[derive(Clone, Copy)]
enum Matrix<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl<'a> Matrix<'a> {
    fn of(w: &'a Host) -> Self {
        match w.dtype() {
            DType::BF16 => Self::Bf16(w.as_slice().expect("kernels get tensors in row-major order")),
            _ => Self::F32(values(w)),
        }
    }
}

/// Rows of `inner` numbers, each with zeros after them up to `width`.
fn widened(x: &[f32], inner: usize, width: usize) -> Vec<f32> {
    let mut rows = vec![0.0; x.len() / inner * width];
    rows.chunks_exact_mut(width)
        .zip(x.chunks_exact(inner))
        .for_each(|(row, x)| row[..inner].copy_from_slice(x));
    rows
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
        // Zeros take the place of rows after the last one.
        let zeros = vec![0.0; if depths.len().is_multiple_of(DEPTH) { 0 } else { at.len() }];
        for depth in depths.clone().step_by(DEPTH) {
            let (y, _) = S::as_mut_simd_f32s(y);
            let n = DEPTH.min(depths.end - depth);
            match w {
                Matrix::F32(w) => {
                    let mut rows: [&[S::f32s]; DEPTH] = [S::as_simd_f32s(&zeros).0; DEPTH];
                    for (i, row) in rows[..n].iter_mut().enumerate() {
                        *row = S::as_simd_f32s(&w[(depth + i) * columns..][at.clone()]).0;
                    }
                    add_rows::<S, F32Rows<'_, S>>(simd, F32Rows(rows), x, inner, depth..depth + n, y);
                }
                Matrix::Bf16(w) => {
                    let zeros: &[u32] = pulp::bytemuck::cast_slice(&zeros[..zeros.len() / 2]);
                    let mut rows: [&[S::u32s]; DEPTH] = [S::as_simd_u32s(zeros).0; DEPTH];
                    for (i, row) in rows[..n].iter_mut().enumerate() {
                        let pairs = pulp::bytemuck::cast_slice(&w[(depth + i) * columns..][at.clone()]);
                        *row = S::as_simd_u32s(pairs).0;
                    }
                    add_rows::<S, Bf16Rows<'_, S>>(simd, Bf16Rows(rows), x, inner, depth..depth + n, y);
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

/// Adds to all rows of `y` the products of the columns `depths` of `x`, at most [`DEPTH`], with rows of the matrix.
#[inline(always)]
fn add_rows<S: Simd, W: Rows<S>>(
    simd: S,
    w: W,
    x: &[f32],
    inner: usize,
    depths: Range<usize>,
    y: &mut [S::f32s],
) {
    let vectors = y.len() / (x.len() / inner);
    let mut x = x.chunks_exact(inner).map(
        #[inline(always)]
        |x| &x[depths.clone()],
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
        let x = x.next().expect("x has a row for each of y");
        own[..x.len()].copy_from_slice(x);
    }
    let mut y = y.chunks_exact_mut(vectors);
    let mut rows = std::array::from_fn(
        #[inline(always)]
        |_| y.next().expect("y has R rows"),
    );
    // With two vectors, a number of x is loaded once for both; they fit if there are 32 registers.
    let paired = if S::REGISTER_COUNT >= 32 { vectors / 2 * 2 } else { 0 };
    add_columns::<S, W, R, 2>(simd, w, &own, &mut rows, 0..paired);
    add_columns::<S, W, R, 1>(simd, w, &own, &mut rows, paired..vectors);
}

/// The same, `C` of the vectors at a time; what is left of them is for a smaller `C`.
#[inline(always)]
fn add_columns<S: Simd, W: Rows<S>, const R: usize, const C: usize>(
    simd: S,
    w: W,
    x: &[[f32; DEPTH]; R],
    y: &mut [&mut [S::f32s]; R],
    vectors: Range<usize>,
) {
    for column in (vectors.start..(vectors.end + 1).saturating_sub(C)).step_by(C) {
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
    /// `[rows, width]`: `inner` numbers and zeros.
    x: &'a [f32],
    width: usize,
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
        let Self { x, width, inner, w, at, y } = self;
        let vectors = width / S::F32_LANES;
        let (x, _) = S::as_simd_f32s(x);
        // The copy is read front to back, which is the fastest way to read memory, and stays in cache for all rows of x.
        let mut buffer = vec![0.0; DOTS * width];
        for column in (0..at.len()).step_by(DOTS) {
            let n = DOTS.min(at.len() - column);
            let rows = (at.start + column) * inner..(at.start + column + n) * inner;
            match w {
                Matrix::F32(w) => {
                    for (copy, row) in buffer.chunks_exact_mut(width).zip(w[rows].chunks_exact(inner)) {
                        copy[..inner].copy_from_slice(row);
                    }
                }
                Matrix::Bf16(w) => {
                    for (copy, row) in buffer.chunks_exact_mut(width).zip(w[rows].chunks_exact(inner)) {
                        for (number, bits) in copy.iter_mut().zip(row) {
                            *number = f32::from_bits(u32::from(bits.to_bits()) << 16);
                        }
                    }
                }
            }
            let (w, _) = S::as_simd_f32s(&buffer);
            let y = &mut y[column..];
            // The sums of four rows leave no register for their inputs if there are 16.
            if S::REGISTER_COUNT >= 32 {
                write_dots::<S, 4>(simd, x, w, vectors, y, at.len(), n);
            } else {
                write_dots::<S, 3>(simd, x, w, vectors, y, at.len(), n);
            }
        }
    }
}

/// Writes the first `n` of [`DOTS`] outputs of every row of `x`, `R` rows at a time; rows of `y` are `stride` apart.
#[inline(always)]
fn write_dots<S: Simd, const R: usize>(
    simd: S,
    x: &[S::f32s],
    w: &[S::f32s],
    vectors: usize,
    y: &mut [f32],
    stride: usize,
    n: usize,
) {
    let mut outputs = y.chunks_mut(stride);
    let mut write = |sums: &[[f32; DOTS]]| {
        for (sums, output) in sums.iter().zip(&mut outputs) {
            output[..n].copy_from_slice(&sums[..n]);
        }
    };
    let mut blocks = x.chunks_exact(R * vectors);
    for x in &mut blocks {
        write(&dots::<S, R>(simd, x, w, vectors));
    }
    let mut pairs = blocks.remainder().chunks_exact(2 * vectors);
    for x in &mut pairs {
        write(&dots::<S, 2>(simd, x, w, vectors));
    }
    for x in pairs.remainder().chunks_exact(vectors) {
        write(&dots::<S, 1>(simd, x, w, vectors));
    }
}

#[inline(always)]
fn dots<S: Simd, const R: usize>(simd: S, x: &[S::f32s], w: &[S::f32s], vectors: usize) -> [[f32; DOTS]; R] {
    let x: [&[S::f32s]; R] = std::array::from_fn(
        #[inline(always)]
        |row| &x[row * vectors..][..vectors],
    );
    let w: [&[S::f32s]; DOTS] = std::array::from_fn(
        #[inline(always)]
        |column| &w[column * vectors..][..vectors],
    );
    let mut sums = [[simd.splat_f32s(0.0); DOTS]; R];
    for i in 0..vectors {
        for (column, w) in w.iter().enumerate() {
            for (sums, x) in sums.iter_mut().zip(x) {
                sums[column] = simd.mul_add_e_f32s(x[i], w[i], sums[column]);
            }
        }
    }
    let mut found = [[0.0; DOTS]; R];
    for (found, sums) in found.iter_mut().zip(sums) {
        for (found, sum) in found.iter_mut().zip(sums) {
            *found = simd.reduce_sum_f32s(sum);
        }
    }
    found
}

#[cfg(test)]
#[path = "few_rows_tests.rs"]
mod tests;
