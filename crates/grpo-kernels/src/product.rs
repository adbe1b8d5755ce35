use burn::tensor::{DType, Device, Tensor};

/// Whether products on `device` take matrices in `dtype` without converting them whole.
pub fn supports_matrices_in(device: &Device, dtype: DType) -> bool {
    match dtype {
        // Elsewhere the whole matrix would be converted for every product.
        DType::F16 => crate::is_cube(device) && device.supports_dtype(dtype),
        _ => device.supports_dtype(dtype),
    }
}

/// The half precision that matrices are held in on `device`: BF16 or, without it, F16; none if it has neither.
pub fn half_precision(device: &Device) -> Option<DType> {
    [DType::BF16, DType::F16].into_iter().find(|dtype| supports_matrices_in(device, *dtype))
}

/// `a · b` over the last two dimensions, in f32; all other dimensions must be equal. `b` may be stored in half precision, and is then
/// a constant.
pub fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cube")]
    if crate::cube::has_own_product(&a.device(), b.dtype()) {
        debug_assert_eq!(a.dims()[..D - 2], b.dims()[..D - 2], "dimensions are not broadcast");
        return crate::cube::product(a, b);
    }
    a.matmul(b.cast(DType::F32))
}

/// `b` in the dtype in which [`matmul`] takes it without converting it: its own where there is a kernel for that, else f32.
pub fn for_matmul(b: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "cube")]
    if crate::cube::has_own_product(&b.device(), b.dtype()) {
        return b;
    }
    b.cast(DType::F32)
}

/// `x · w`: `[rows, inner] · [inner, columns]`, computed in f32; `w` may be stored in half precision, and is then a constant.
pub fn product(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::cpu::few_rows(&x, &w) {
        return crate::cpu::product(x, w);
    }
    #[cfg(feature = "flex")]
    if crate::cpu::is_host(&x.device()) && x.device().is_autodiff() && w.dtype() == DType::BF16 {
        return crate::cpu::bf16_product(x, w);
    }
    matmul(x, w)
}

/// `x · wᵀ`: `[rows, inner] · [columns, inner]ᵀ`, computed in f32; `w` may be stored in half precision.
pub fn product_transposed(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::cpu::few_rows(&x, &w) {
        return crate::cpu::product_transposed(x, w);
    }
    matmul(x, w.transpose())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{assert_close, matrix, numbers};
    use grpo_test_device::device;

    /// The dtypes of matrices that the device takes.
    fn dtypes() -> impl Iterator<Item = DType> {
        [DType::F32, DType::BF16, DType::F16]
            .into_iter()
            .filter(|dtype| supports_matrices_in(&device(), *dtype))
    }

    #[test]
    fn few_rows_give_the_product_whatever_the_matrix_is_stored_in() {
        for (rows, inner, columns) in [
            (1, 64, 16),
            (5, 128, 48),
            (8, 64, 4112),
            (13, 192, 80),
            (32, 64, 32),
            (6, 4, 7),
            (100, 33, 1099),
        ] {
            let x = matrix(1, [rows, inner], 1.0);
            for dtype in dtypes() {
                let w = matrix(2, [inner, columns], 1.0).cast(dtype);
                let expected = numbers(x.clone().matmul(w.clone().cast(DType::F32)));
                assert_close("x · w", &numbers(product(x.clone(), w)), &expected, 2e-5);
                let w = matrix(2, [columns, inner], 1.0).cast(dtype);
                let expected = numbers(x.clone().matmul(w.clone().cast(DType::F32).transpose()));
                assert_close("x · wᵀ", &numbers(product_transposed(x.clone(), w)), &expected, 2e-5);
            }
        }
    }

    #[test]
    fn a_matrix_in_half_precision_gives_the_gradient_of_the_same_in_f32() {
        for dtype in dtypes().filter(|dtype| *dtype != DType::F32) {
            let w = matrix(2, [64, 48], 1.0).cast(dtype);
            let gradient = |multiply: fn(Tensor<2>, Tensor<2>) -> Tensor<2>| {
                let x = matrix(1, [40, 64], 1.0).autodiff().require_grad();
                let y = multiply(x.clone(), w.clone().autodiff());
                let g = matrix(3, [40, 48], 1.0).autodiff();
                let gradients = (y.clone() * g).sum().backward();
                (numbers(y.inner()), numbers(x.grad(&gradients).unwrap()))
            };
            let (y, dx) = gradient(product);
            let (expected_y, expected_dx) = gradient(|x, w| x.matmul(w.cast(DType::F32)));
            if grpo_test_device::is_cpu() {
                assert_eq!((&y, &dx), (&expected_y, &expected_dx));
            }
            assert_close("x · w", &y, &expected_y, 2e-6);
            assert_close("gradient with respect to x", &dx, &expected_dx, 2e-6);
        }
    }

    #[test]
    #[cfg(feature = "cube")]
    fn the_product_of_a_device_has_the_gradients_of_burns() {
        if grpo_test_device::is_cpu() {
            return;
        }
        for [rows, inner, columns] in [[1, 64, 16], [70, 130, 33]] {
            let (a, b) = (matrix(1, [3, rows, inner], 1.0), matrix(2, [3, inner, columns], 1.0));
            crate::tests::check2("product", crate::cube::product, Tensor::matmul, a, b, 2e-6);
        }
        for [rows, inner, columns] in [[1, 64, 1], [70, 130, 12], [5, 900, 16], [33, 7, 64]] {
            let (a, b) = (matrix(1, [rows, inner], 1.0), matrix(2, [inner, columns], 1.0));
            crate::tests::check2("narrow product", crate::cube::product, Tensor::matmul, a, b, 2e-6);
        }
    }

    #[test]
    fn a_row_is_the_same_to_the_bit_whatever_is_beside_it() {
        const ROWS: usize = 100;
        // The matrices of a model, and those of adapters.
        for [inner, columns] in [[128, 64], [896, 1040], [896, 16], [16, 896], [1, 64], [1040, 12]] {
            let (x, w) = (matrix(1, [ROWS, inner], 1.0), matrix(2, [inner, columns], 1.0));
            for multiply in [product, |x, w: Tensor<2>| product_transposed(x, w.transpose())] {
                let all = numbers(multiply(x.clone(), w.clone()));
                for rows in [1, 2, 3, 8, 11, 33, 65] {
                    let some = numbers(multiply(x.clone().narrow(0, ROWS - rows, rows), w.clone()));
                    assert!(some == all[(ROWS - rows) * columns..], "{rows} rows · [{inner}, {columns}]");
                }
            }
        }
    }
}
