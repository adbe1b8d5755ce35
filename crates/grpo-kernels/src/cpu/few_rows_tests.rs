//! Every instruction set of this machine computes the product.

use pulp::Scalar;

use super::*;

const ROWS: usize = 13;
/// Not a multiple of [`DEPTH`].
const INNER: usize = 68;
const COLUMNS: usize = 96;

fn numbers(seed: usize, n: usize) -> Vec<f32> {
    // Sixteenths up to 4: BF16 represents them exactly, and sums of their products are exact.
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 129) as f32 / 16.0 - 4.0).collect()
}

fn check<S: Simd>(simd: S) {
    let (x, w) = (numbers(1, ROWS * INNER), numbers(2, INNER * COLUMNS));
    let halves: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
    // A subset of the columns, as a task receives them.
    let at = 32..COLUMNS;
    let dot =
        |row: usize, of: &dyn Fn(usize) -> f32| (0..INNER).map(|k| x[row * INNER + k] * of(k)).sum::<f32>();
    let places = || (0..ROWS).flat_map(|row| at.clone().map(move |column| (row, column)));
    let expected: Vec<f32> = places().map(|(row, c)| dot(row, &|k| w[k * COLUMNS + c])).collect();
    let transposed: Vec<f32> = places().map(|(row, c)| dot(row, &|k| w[c * INNER + k])).collect();
    let width = INNER.next_multiple_of(VECTOR);
    let widened = widened(&x, INNER, width);
    for w in [Matrix::F32(&w), Matrix::Bf16(&halves)] {
        let (inner, columns, depths) = (INNER, COLUMNS, 0..INNER);
        let mut y = vec![0.0; ROWS * at.len()];
        simd.vectorize(Product { x: &x, inner, w, columns, depths, at: at.clone(), y: &mut y });
        assert_eq!(y, expected);
        simd.vectorize(ProductTransposed { x: &widened, width, inner, w, at: at.clone(), y: &mut y });
        assert_eq!(y, transposed);
    }
}

#[test]
fn every_instruction_set_gives_the_product() {
    check(Scalar);
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V3::try_new() {
            check(simd);
        }
        if let Some(simd) = pulp::x86::V4::try_new() {
            check(simd);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(simd) = pulp::aarch64::Neon::try_new() {
        check(simd);
    }
}
