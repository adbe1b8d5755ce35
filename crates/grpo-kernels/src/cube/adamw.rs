use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::ops::{elementwise, owned, whole};
use crate::AdamWUpdate;

/// What is cut off of an f32 to make a BF16 number of it.
const LOW: u32 = 0xFFFF;
const HIGH: u32 = 0xFFFF_0000;

/// The numbers of an update, as `optimize::Factors` has them.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Numbers {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    first: f32,
    second: f32,
    decay: f32,
    learning_rate: f32,
    gradient: f32,
    key: u32,
}

impl NumbersLaunch {
    fn of(update: &AdamWUpdate) -> Self {
        let factors = update.factors();
        Self::new(
            factors.beta1,
            factors.beta2,
            factors.epsilon,
            factors.first,
            factors.second,
            factors.decay,
            factors.learning_rate,
            factors.gradient,
            factors.key,
        )
    }
}

/// The weight, its first and its second moment after an update.
#[cube]
fn step(numbers: &Numbers, weight: f32, first: f32, second: f32, gradient: f32) -> (f32, f32, f32) {
    let g = gradient * numbers.gradient;
    let m = first * numbers.beta1 + g * (1.0f32 - numbers.beta1);
    let v = second * numbers.beta2 + g * g * (1.0f32 - numbers.beta2);
    let root = f32::sqrt(v / numbers.second) + numbers.epsilon;
    (weight * numbers.decay - m / numbers.first / root * numbers.learning_rate, m, v)
}

/// As `moments::noise`.
#[cube]
fn noise(x: u32) -> u32 {
    let x = (x ^ (x >> 16u32)) * 0x7FEB_352Du32;
    let x = (x ^ (x >> 15u32)) * 0x846C_A68Bu32;
    x ^ (x >> 16u32)
}

#[cube(launch)]
fn adamw_kernel(
    weight: &mut Tensor<f32>,
    gradient: &Tensor<f32>,
    first: &mut Tensor<f32>,
    second: &mut Tensor<f32>,
    numbers: Numbers,
) {
    let i = ABSOLUTE_POS;
    if i < weight.len() {
        let (w, m, v) = step(&numbers, weight[i], first[i], second[i], gradient[i]);
        weight[i] = w;
        first[i] = m;
        second[i] = v;
    }
}

#[cube(launch)]
fn adamw_in_words_kernel(
    weight: &mut Tensor<f32>,
    gradient: &Tensor<f32>,
    words: &mut Tensor<u32>,
    numbers: Numbers,
) {
    let i = ABSOLUTE_POS;
    if i < weight.len() {
        let word = words[i];
        let (first, second) = (f32::reinterpret(word & HIGH), f32::reinterpret(word << 16u32));
        let (w, m, v) = step(&numbers, weight[i], first, second, gradient[i]);
        let random = noise(numbers.key ^ i as u32);
        let upper = (u32::reinterpret(m) + (random >> 16u32)) & HIGH;
        let lower = (u32::reinterpret(v) + (random & LOW)) >> 16u32;
        weight[i] = w;
        words[i] = upper | lower;
    }
}

pub(super) fn adamw(
    weight: CubeTensor,
    gradient: CubeTensor,
    first: CubeTensor,
    second: CubeTensor,
    update: &AdamWUpdate,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (weight, gradient, first, second) = (owned(weight), whole(gradient), owned(first), owned(second));
    let (count, threads) = elementwise(&weight, weight.meta.shape().num_elements());
    adamw_kernel::launch(
        &weight.client,
        count,
        threads,
        weight.clone().into_tensor_arg(),
        gradient.into_tensor_arg(),
        first.clone().into_tensor_arg(),
        second.clone().into_tensor_arg(),
        NumbersLaunch::of(update),
    );
    (weight, first, second)
}

/// The same with both moments in BF16, in a word.
pub(super) fn adamw_in_words(
    weight: CubeTensor,
    gradient: CubeTensor,
    words: CubeTensor,
    update: &AdamWUpdate,
) -> (CubeTensor, CubeTensor) {
    let (weight, gradient, words) = (owned(weight), whole(gradient), owned(words));
    let (count, threads) = elementwise(&weight, weight.meta.shape().num_elements());
    adamw_in_words_kernel::launch(
        &weight.client,
        count,
        threads,
        weight.clone().into_tensor_arg(),
        gradient.into_tensor_arg(),
        words.clone().into_tensor_arg(),
        NumbersLaunch::of(update),
    );
    (weight, words)
}
