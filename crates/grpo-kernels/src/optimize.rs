use burn::tensor::Tensor;

use crate::{on_cpu, on_plain_cube};

/// One update of AdamW, as in "Decoupled Weight Decay Regularization" (Loshchilov and Hutter, 2019).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWUpdate {
    /// The learning rate.
    pub learning_rate: f64,
    /// What the gradient is multiplied by before anything else: below 1 if its norm is clipped.
    pub gradient_scale: f64,
    /// Decay rate of the mean of gradients.
    pub beta1: f32,
    /// Decay rate of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the square root of the latter.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Updates so far, including this one.
    pub time: usize,
}

/// The divisors that correct the moments for starting at 0, and the factor of the weight.
pub(crate) struct Factors {
    pub(crate) first: f32,
    pub(crate) second: f32,
    pub(crate) decay: f32,
    pub(crate) learning_rate: f32,
    pub(crate) gradient: f32,
}

impl AdamWUpdate {
    pub(crate) fn factors(&self) -> Factors {
        let unbiased = |beta: f32| (1.0 - f64::from(beta).powf(self.time as f64)) as f32;
        Factors {
            first: unbiased(self.beta1),
            second: unbiased(self.beta2),
            decay: (1.0 - self.learning_rate * f64::from(self.weight_decay)) as f32,
            learning_rate: self.learning_rate as f32,
            gradient: self.gradient_scale as f32,
        }
    }

    /// The weight and the two moments after the update, all in f32 and of the same shape.
    pub fn apply<const D: usize>(
        &self,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        moments: [Tensor<D>; 2],
    ) -> (Tensor<D>, [Tensor<D>; 2]) {
        on_cpu!(weight, crate::cpu::adamw(self, weight, gradient, moments));
        on_plain_cube!(weight, crate::cube::adamw(self, weight, gradient, moments));
        self.composed(weight, gradient, moments)
    }

    fn composed<const D: usize>(
        &self,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        [first, second]: [Tensor<D>; 2],
    ) -> (Tensor<D>, [Tensor<D>; 2]) {
        let factors = self.factors();
        let gradient = gradient * factors.gradient;
        let first = first * self.beta1 + gradient.clone() * (1.0 - self.beta1);
        let second = second * self.beta2 + gradient.square() * (1.0 - self.beta2);
        let root = (second.clone() / factors.second).sqrt() + self.epsilon;
        let change = first.clone() / factors.first / root * factors.learning_rate;
        (weight * factors.decay - change, [first, second])
    }
}

/// The sum of the squares of all elements of some tensors, in f64 across rows. On a device it waits once, in
/// [`total`](Self::total).
#[derive(Debug, Default)]
pub struct SumOfSquares {
    on_host: f64,
    /// Sums of rows.
    on_device: Vec<Tensor<1>>,
}

impl SumOfSquares {
    /// Adds the squares of a tensor in f32.
    pub fn add<const D: usize>(&mut self, x: Tensor<D>) {
        #[cfg(feature = "flex")]
        if crate::cpu::is_host(&x.device()) {
            self.on_host += crate::cpu::sum_of_squares(x);
            return;
        }
        let rows: usize = x.dims()[..D - 1].iter().product();
        self.on_device.push(x.square().sum_dim(D - 1).reshape([rows]));
    }

    /// The sum.
    pub fn total(self) -> f64 {
        if self.on_device.is_empty() {
            return self.on_host;
        }
        let rows = crate::to_host(Tensor::cat(self.on_device, 0));
        self.on_host + rows.into_iter().map(f64::from).sum::<f64>()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::tests::{assert_close, matrix, numbers};

    #[test]
    fn the_kernel_is_what_it_is_composed_of() {
        let shape = [37, 500];
        let [mut weight, mut first, mut second] =
            [matrix(1, shape, 1.0), matrix(2, shape, 0.0), matrix(3, shape, 0.0)];
        for time in 1..4 {
            let update = AdamWUpdate {
                learning_rate: 1e-2,
                gradient_scale: 0.7,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.1,
                time,
            };
            let gradient = matrix(4 + time as u64, shape, 3.0);
            let moments = || [first.clone(), second.clone()];
            let expected = update.composed(weight.clone(), gradient.clone(), moments());
            let found = update.apply(weight.clone(), gradient, moments());
            assert_close("weight", &numbers(found.0.clone()), &numbers(expected.0), 1e-6);
            for (found, expected) in found.1.iter().zip(expected.1) {
                assert_close("moment", &numbers(found.clone()), &numbers(expected), 1e-6);
            }
            (weight, [first, second]) = found;
        }
    }

    #[test]
    fn squares_add_up() {
        let x = matrix(1, [70, 1000], 1.0);
        let expected: f64 = numbers(x.clone()).iter().map(|x| f64::from(*x).powi(2)).sum();
        let mut squares = SumOfSquares::default();
        squares.add(x.clone().narrow(0, 0, 69));
        squares.add(x.narrow(0, 69, 1).reshape([1000]));
        assert!((squares.total() / expected - 1.0).abs() < 1e-6);
    }
}
