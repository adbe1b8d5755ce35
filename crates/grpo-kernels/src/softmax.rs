use burn::tensor::Tensor;

use crate::on_cpu;

/// Running statistics of rows of logits `z`, each `[rows, 1]`.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// The maximum.
    pub max: Tensor<2>,
    /// `Σ e^(z - max)`
    pub sum: Tensor<2>,
    /// `Σ e^(z - max) (z - max)`
    pub weighted: Tensor<2>,
}

impl Statistics {
    /// The statistics of a tile `[rows, columns]`.
    pub fn of(z: Tensor<2>) -> Self {
        on_cpu!(z, Self::from_columns(crate::cpu::statistics(z)));
        Self::composed(z)
    }

    fn composed(z: Tensor<2>) -> Self {
        let max = z.clone().max_dim(1);
        let z = z - max.clone();
        let e = z.clone().exp();
        Self { max, sum: e.clone().sum_dim(1), weighted: (e * z).sum_dim(1) }
    }

    #[cfg(feature = "flex")]
    fn from_columns(all: Tensor<2>) -> Self {
        let [max, sum, weighted] = [0, 1, 2].map(|i| all.clone().narrow(1, i, 1));
        Self { max, sum, weighted }
    }

    /// The statistics of both tiles together.
    pub fn merge(self, other: Self) -> Self {
        let max = self.max.clone().max_pair(other.max.clone());
        let [a, b] = [self, other].map(|s| s.from(max.clone()));
        Self { max, sum: a.sum + b.sum, weighted: a.weighted + b.weighted }
    }

    /// The same statistics relative to another maximum.
    fn from(self, max: Tensor<2>) -> Self {
        let shift = self.max - max.clone();
        let scale = shift.clone().exp();
        Self {
            max,
            weighted: (self.weighted + shift * self.sum.clone()) * scale.clone(),
            sum: self.sum * scale,
        }
    }
}

/// `-g · e^(z - log_sum_exp)` for a tile of logits `z` `[rows, columns]`, with one `log_sum_exp` and one `g` `[rows, 1]` per
/// row: the gradient with respect to `z` of `-Σ g · log_sum_exp`.
pub fn softmax_vjp(z: Tensor<2>, log_sum_exp: Tensor<2>, g: Tensor<2>) -> Tensor<2> {
    on_cpu!(z, crate::cpu::softmax_vjp(z, log_sum_exp, g));
    composed_softmax_vjp(z, log_sum_exp, g)
}

fn composed_softmax_vjp(z: Tensor<2>, log_sum_exp: Tensor<2>, g: Tensor<2>) -> Tensor<2> {
    (z - log_sum_exp).exp() * g.neg()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{assert_close, matrix, numbers};

    #[test]
    fn kernels_are_what_they_are_composed_of() {
        for (rows, columns) in [(1, 1), (5, 100), (64, 3000)] {
            let z = matrix(1, [rows, columns], 8.0);
            let (found, expected) = (Statistics::of(z.clone()), Statistics::composed(z.clone()));
            assert_eq!(numbers(found.max), numbers(expected.max));
            assert_close("sum", &numbers(found.sum), &numbers(expected.sum.clone()), 3e-5);
            assert_close("weighted", &numbers(found.weighted), &numbers(expected.weighted), 3e-4);
            let (shift, g) = (matrix(2, [rows, 1], 2.0) + 8.0, matrix(3, [rows, 1], 1.0));
            let found = numbers(softmax_vjp(z.clone(), shift.clone(), g.clone()));
            assert_close("vjp", &found, &numbers(composed_softmax_vjp(z, shift, g)), 1e-5);
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let z = Tensor::from_floats([[1.0, f32::NAN, 2.0], [1.0, 2.0, 3.0]], &grpo_test_device::device());
        let sum = numbers(Statistics::of(z).sum);
        assert!(sum[0].is_nan() && sum[1].is_finite());
    }
}
