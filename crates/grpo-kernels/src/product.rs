use burn::tensor::{DType, Tensor};

/// `x · w`: `[rows, inner] · [inner, columns]`, computed in f32; `w` may be stored in BF16, and is then a constant.
pub fn product(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::cpu::few_rows(&x, &w, w.dims()[1]) {
        return crate::cpu::product(x, w);
    }
    #[cfg(feature = "flex")]
    if crate::cpu::is_host(&x.device()) && x.device().is_autodiff() && w.dtype() == DType::BF16 {
        return crate::cpu::bf16_product(x, w);
    }
    x.matmul(w.cast(DType::F32))
}

/// `x · wᵀ`: `[rows, inner] · [columns, inner]ᵀ`, computed in f32; `w` may be stored in BF16.
pub fn product_transposed(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if crate::cpu::few_rows(&x, &w, w.dims()[0]) {
        return crate::cpu::product_transposed(x, w);
    }
    x.matmul(w.cast(DType::F32).transpose())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{assert_close, matrix, numbers};
    use grpo_test_device::has_bf16;

    #[test]
    fn few_rows_give_the_product_whatever_the_matrix_is_stored_in() {
        for (rows, inner, columns) in [(1, 64, 16), (5, 128, 48), (8, 64, 4112), (13, 192, 80), (32, 64, 32)]
        {
            let x = matrix(1, [rows, inner], 1.0);
            for dtype in
                [DType::F32, DType::BF16].into_iter().filter(|dtype| *dtype == DType::F32 || has_bf16())
            {
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
    fn a_bf16_matrix_gives_the_gradient_of_the_same_in_f32() {
        if !has_bf16() {
            return;
        }
        let w = matrix(2, [64, 48], 1.0).cast(DType::BF16);
        let gradient = |multiply: fn(Tensor<2>, Tensor<2>) -> Tensor<2>| {
            let x = matrix(1, [40, 64], 1.0).autodiff().require_grad();
            let y = multiply(x.clone(), w.clone().autodiff());
            let g = matrix(3, [40, 48], 1.0).autodiff();
            let gradients = (y.clone() * g).sum().backward();
            (numbers(y.inner()), numbers(x.grad(&gradients).unwrap()))
        };
        let (y, dx) = gradient(product);
        let (expected_y, expected_dx) = gradient(|x, w| x.matmul(w.cast(DType::F32)));
        assert_eq!((y, dx), (expected_y, expected_dx));
    }

    #[test]
    fn a_row_is_the_same_to_the_bit_whatever_is_beside_it() {
        let (x, w) = (matrix(1, [32, 128], 1.0), matrix(2, [128, 64], 1.0));
        for multiply in [product, |x, w: Tensor<2>| product_transposed(x, w.transpose())] {
            let all = numbers(multiply(x.clone(), w.clone()));
            for rows in [1, 3, 8, 11] {
                let some = numbers(multiply(x.clone().narrow(0, 32 - rows, rows), w.clone()));
                assert_eq!(some, all[(32 - rows) * 64..]);
            }
        }
    }
}
