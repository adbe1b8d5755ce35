use burn::tensor::Tensor;

use crate::moments::{Stored, noise, pack, to_words, unpack};
use crate::{Moments, float_tensor, on_cpu, on_plain_cube, to_host};

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
    /// The parameter's place in its module, from 0: each has noise of its own, by which moments are rounded to BF16.
    pub parameter: usize,
}

/// The numbers of an update as kernels take them.
pub(crate) struct Factors {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    /// What corrects the moments for starting at 0: their divisors.
    pub(crate) first: f32,
    pub(crate) second: f32,
    /// The factor of the weight.
    pub(crate) decay: f32,
    pub(crate) learning_rate: f32,
    pub(crate) gradient: f32,
    /// The key of the noise.
    pub(crate) key: u32,
}

impl Factors {
    /// A weight and its moments after the update.
    #[inline(always)]
    pub(crate) fn step(&self, weight: f32, [first, second]: [f32; 2], gradient: f32) -> (f32, [f32; 2]) {
        let g = gradient * self.gradient;
        let first = first * self.beta1 + g * (1.0 - self.beta1);
        let second = second * self.beta2 + g * g * (1.0 - self.beta2);
        let root = (second / self.second).sqrt() + self.epsilon;
        (weight * self.decay - first / self.first / root * self.learning_rate, [first, second])
    }

    /// The same with moments in a word; `i` is the number's place in its parameter.
    #[inline(always)]
    pub(crate) fn step_word(&self, weight: f32, word: u32, gradient: f32, i: usize) -> (f32, u32) {
        let (weight, moments) = self.step(weight, unpack(word), gradient);
        (weight, pack(moments, noise(self.key ^ i as u32)))
    }
}

impl AdamWUpdate {
    pub(crate) fn factors(&self) -> Factors {
        let unbiased = |beta: f32| (1.0 - f64::from(beta).powf(self.time as f64)) as f32;
        Factors {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            first: unbiased(self.beta1),
            second: unbiased(self.beta2),
            decay: (1.0 - self.learning_rate * f64::from(self.weight_decay)) as f32,
            learning_rate: self.learning_rate as f32,
            gradient: self.gradient_scale as f32,
            key: noise(noise(self.time as u32) ^ self.parameter as u32),
        }
    }

    /// A parameter and its moments after the update; the weight and the gradient are in f32 and of the same shape, and there are
    /// moments of as many numbers.
    pub fn apply<const D: usize>(
        &self,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        moments: Moments,
    ) -> (Tensor<D>, Moments) {
        let shape = weight.dims();
        let n = shape.iter().product::<usize>();
        let (weight, moments) = self.apply_flat(weight.reshape([n]), gradient.reshape([n]), moments);
        (weight.reshape(shape), moments)
    }

    fn apply_flat(&self, weight: Tensor<1>, gradient: Tensor<1>, moments: Moments) -> (Tensor<1>, Moments) {
        on_cpu!(weight, crate::cpu::adamw(self, weight, gradient, moments));
        on_plain_cube!(weight, crate::cube::adamw(self, weight, gradient, moments));
        self.composed(weight, gradient, moments)
    }

    fn composed(&self, weight: Tensor<1>, gradient: Tensor<1>, moments: Moments) -> (Tensor<1>, Moments) {
        match moments.0 {
            Stored::F32(moments) => {
                let (weight, moments) = self.composed_f32(weight, gradient, moments);
                (weight, Moments(Stored::F32(moments)))
            }
            Stored::Words(words) => self.on_host(weight, gradient, to_words(words)),
        }
    }

    /// With numbers that are read from their device and written to it: burn has no operation for their bits.
    fn on_host(&self, weight: Tensor<1>, gradient: Tensor<1>, mut words: Vec<u32>) -> (Tensor<1>, Moments) {
        let (factors, device, shape) = (self.factors(), weight.device(), weight.dims());
        let (mut weight, gradient) = (to_host(weight), to_host(gradient));
        for (i, ((w, word), g)) in weight.iter_mut().zip(&mut words).zip(gradient).enumerate() {
            (*w, *word) = factors.step_word(*w, *word, g, i);
        }
        (float_tensor(weight, shape, &device), Moments::from_words(words, &device))
    }

    fn composed_f32(
        &self,
        weight: Tensor<1>,
        gradient: Tensor<1>,
        [first, second]: [Tensor<1>; 2],
    ) -> (Tensor<1>, [Tensor<1>; 2]) {
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
    use burn::tensor::DType;

    use super::*;
    use crate::tests::{assert_close, matrix, numbers};

    fn update(time: usize) -> AdamWUpdate {
        AdamWUpdate {
            learning_rate: 1e-2,
            gradient_scale: 0.7,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.1,
            time,
            parameter: 3,
        }
    }

    /// Numbers that fill more than one task.
    fn vector(seed: u64, scale: f32) -> Tensor<1> {
        matrix(seed, [37, 500], scale).reshape([37 * 500])
    }

    fn words(moments: &Moments) -> Vec<u32> {
        match &moments.0 {
            Stored::F32(_) => panic!("they are in F32"),
            Stored::Words(words) => to_words(words.clone()),
        }
    }

    fn zeros(weight: &Tensor<1>, dtype: DType) -> Moments {
        Moments::zeros(weight.dims()[0], dtype, &weight.device())
    }

    #[test]
    fn the_kernel_is_what_it_is_composed_of() {
        let mut weight = vector(1, 1.0);
        let mut moments = zeros(&weight, DType::F32);
        for time in 1..4 {
            let gradient = vector(4 + time as u64, 3.0);
            let expected = update(time).composed(weight.clone(), gradient.clone(), moments.clone());
            let found = update(time).apply(weight.clone(), gradient, moments);
            assert_close("weight", &numbers(found.0.clone()), &numbers(expected.0), 1e-6);
            assert_close("first moment", &found.1.first(), &expected.1.first(), 1e-6);
            assert_close("second moment", &found.1.second(), &expected.1.second(), 1e-6);
            (weight, moments) = found;
        }
    }

    #[test]
    fn words_are_rounded_as_on_the_host() {
        let mut weight = vector(1, 1.0);
        let mut moments = zeros(&weight, DType::BF16);
        for time in 1..4 {
            let gradient = vector(4 + time as u64, 3.0);
            let expected = update(time).composed(weight.clone(), gradient.clone(), moments.clone());
            let found = update(time).apply(weight.clone(), gradient, moments);
            assert_close("weight", &numbers(found.0.clone()), &numbers(expected.0), 1e-6);
            let (ours, theirs) = (words(&found.1), words(&expected.1));
            let others: Vec<_> = ours.iter().zip(&theirs).filter(|(a, b)| a != b).collect();
            if grpo_test_device::is_cpu() {
                assert_eq!(others, []);
            }
            // A device's f32 may differ in the last bit, and then a few moments are rounded to the next number.
            assert!(others.len() <= ours.len() / 100, "{} words of {} are others", others.len(), ours.len());
            for (a, b) in others {
                let halves = |word: u32| [word >> 16, word & 0xFFFF];
                assert!(
                    halves(*a).iter().zip(halves(*b)).all(|(a, b)| a.abs_diff(b) <= 1),
                    "{a:x} for {b:x}"
                );
            }
            (weight, moments) = found;
        }
    }

    #[test]
    fn moments_in_bf16_follow_those_in_f32() {
        let start = vector(1, 1.0);
        let mut of_f32 = (start.clone(), zeros(&start, DType::F32));
        let mut of_bf16 = (start.clone(), zeros(&start, DType::BF16));
        // Large gradients, and then small ones for as long as the second moment takes to fall to less than half.
        for time in 1..1000 {
            let gradient = vector(time as u64, if time < 20 { 3.0 } else { 0.01 });
            of_f32 = update(time).apply(of_f32.0, gradient.clone(), of_f32.1);
            of_bf16 = update(time).apply(of_bf16.0, gradient, of_bf16.1);
        }
        let mean = |x: &[f32]| x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
        let [expected, found] = [of_f32.1.second(), of_bf16.1.second()].map(|second| mean(&second));
        assert!((found / expected - 1.0).abs() < 2e-3, "{found} for a mean second moment of {expected}");
        let change = |weight: Tensor<1>| numbers(weight - start.clone());
        let (expected, found) = (change(of_f32.0), change(of_bf16.0));
        let errors: Vec<f32> = found.iter().zip(&expected).map(|(f, e)| f - e).collect();
        let [error, size] =
            [&errors, &expected].map(|x| mean(&x.iter().map(|x| x * x).collect::<Vec<_>>()).sqrt());
        assert!(error < 0.01 * size, "weights moved by {size} on average, with an error of {error}");
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
