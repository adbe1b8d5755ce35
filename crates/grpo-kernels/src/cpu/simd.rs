//! Loops that the compiler vectorizes for the machine it runs on.

use std::ops::Range;

use rayon::prelude::*;

pub(crate) use grpo_math::exp;

/// The number of partial results of a reduction: the order of its additions is the same on every machine.
pub(crate) const LANES: usize = 16;

/// Runs `f` compiled for the widest vectors of this machine; the functions it calls must be `#[inline(always)]`.
#[inline(always)]
pub(crate) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// The sum of `f` over some numbers.
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += f(chunk[lane]);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(*x);
    }
    add_lanes(lanes)
}

/// `Σ a · b`
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    add_lanes(lanes)
}

/// Adds halves to each other until one number is left.
#[inline(always)]
fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest of some numbers; NaN is ignored.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    let mut largest = f32::NEG_INFINITY;
    for value in lanes.iter().chain(rest) {
        largest = if *value > largest { *value } else { largest };
    }
    largest
}

/// Calls `f` with every row of a matrix `[rows, columns]` that is being written, on all cores.
pub(crate) fn for_rows(out: &mut [f32], columns: usize, f: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    const NUMBERS: usize = 1 << 14;
    let rows = (NUMBERS / columns).max(1);
    out.par_chunks_mut(rows * columns).enumerate().for_each(|(i, chunk)| {
        let start = i * rows;
        f(start..start + chunk.len() / columns, chunk);
    });
}
