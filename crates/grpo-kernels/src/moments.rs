//! The moments of AdamW, and how they are rounded to BF16.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::to_host;

/// The two moments of every number of a parameter: the means of its gradients and of their squares. They are stored in F32 or in BF16.
///
/// In BF16, an update computes in f32 and rounds each moment away from 0 with the probability of the part that it would cut off
/// (stochastic rounding). Rounded to nearest, the second moment could never fall: with `beta2 = 0.999` an update takes a thousandth of it
/// at most, and BF16 resolves no less than a 256th. The noise depends on the parameter, on the number of its updates and on the number's
/// place in it, and on nothing else: a run that is repeated or resumed comes to the same bits.
#[derive(Debug, Clone)]
pub struct Moments(pub(crate) Stored);

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // there is one for each parameter, with far more memory of its own
pub(crate) enum Stored {
    /// Each `[n]`.
    F32([Tensor<1>; 2]),
    /// `[n]`, U32: the two moments of a number, the first in the upper half.
    Words(Tensor<1, Int>),
}

impl Moments {
    /// Those of `n` numbers that have seen no gradient.
    ///
    /// # Panics
    ///
    /// If the dtype is not F32 or BF16.
    pub fn zeros(n: usize, dtype: DType, device: &Device) -> Self {
        Self(match dtype {
            DType::F32 => Stored::F32([(); 2].map(|()| Tensor::zeros([n], (device, DType::F32)))),
            DType::BF16 => Stored::Words(Tensor::zeros([n], (device, DType::U32))),
            other => panic!("moments are stored in F32 or BF16, not in {other:?}"),
        })
    }

    /// Those with these values, of which BF16 keeps the upper half of the bits.
    ///
    /// # Panics
    ///
    /// If the dtype is not F32 or BF16, or there are not as many of both.
    pub fn from_values([first, second]: [&[f32]; 2], dtype: DType, device: &Device) -> Self {
        assert_eq!(first.len(), second.len(), "every number has two moments");
        match dtype {
            DType::F32 => {
                let stored = [first, second].map(|values| Tensor::from_data(values, (device, DType::F32)));
                Self(Stored::F32(stored))
            }
            DType::BF16 => {
                Self::from_words(first.iter().zip(second).map(|(m, v)| pack([*m, *v], 0)).collect(), device)
            }
            other => panic!("moments are stored in F32 or BF16, not in {other:?}"),
        }
    }

    /// The means of gradients.
    pub fn first(&self) -> Vec<f32> {
        self.values(0)
    }

    /// The means of squared gradients.
    pub fn second(&self) -> Vec<f32> {
        self.values(1)
    }

    fn values(&self, i: usize) -> Vec<f32> {
        match &self.0 {
            Stored::F32(moments) => to_host(moments[i].clone()),
            Stored::Words(words) => to_words(words.clone()).into_iter().map(|word| unpack(word)[i]).collect(),
        }
    }

    pub(crate) fn from_words(words: Vec<u32>, device: &Device) -> Self {
        let n = words.len();
        Self(Stored::Words(Tensor::from_data(TensorData::new(words, [n]), (device, DType::U32))))
    }
}

pub(crate) fn to_words(words: Tensor<1, Int>) -> Vec<u32> {
    words.into_data().try_into_vec().expect("the words have 32 bits")
}

/// The two moments of a word.
#[inline(always)]
pub(crate) fn unpack(word: u32) -> [f32; 2] {
    [f32::from_bits(word & 0xFFFF_0000), f32::from_bits(word << 16)]
}

/// The word of two moments, of which 16 bits each are cut off after the bits of `noise` have been added.
#[inline(always)]
pub(crate) fn pack([first, second]: [f32; 2], noise: u32) -> u32 {
    let first = first.to_bits().wrapping_add(noise >> 16);
    let second = second.to_bits().wrapping_add(noise & 0xFFFF);
    (first & 0xFFFF_0000) | (second >> 16)
}

/// 32 random bits for every number: a hash (C. Wellons's `lowbias32`), the same on all devices.
#[inline(always)]
pub(crate) fn noise(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7FEB_352D);
    x = (x ^ (x >> 15)).wrapping_mul(0x846C_A68B);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_numbers_keep_their_bits_whatever_the_noise() {
        for both in [[0.0, 0.0], [-1.5, 3e-20], [1e30, 0.007_812_5], [-3e38, f32::INFINITY]] {
            let exact = unpack(pack(both, 0));
            for i in 0..100 {
                assert_eq!(unpack(pack(exact, noise(i))), exact);
            }
        }
    }

    #[test]
    fn rounding_is_right_on_average_and_never_further_than_the_next_number() {
        const N: u32 = 1 << 16;
        for x in [1.001_f32, -0.3, 2.7e-9, 1.0 + 1.0 / 65_536.0] {
            let [low, high] = [x.to_bits() & 0xFFFF_0000, (x.to_bits() & 0xFFFF_0000) + 0x1_0000];
            let mut sums = [0.0; 2];
            for i in 0..N {
                for (sum, rounded) in sums.iter_mut().zip(unpack(pack([x, x], noise(i)))) {
                    assert!([low, high].contains(&rounded.to_bits()), "{x}: {rounded}");
                    *sum += f64::from(rounded) / f64::from(N);
                }
            }
            // Five standard errors of a mean of numbers that are a step apart.
            let step = f64::from(f32::from_bits(high)) - f64::from(f32::from_bits(low));
            for mean in sums {
                assert!((mean - f64::from(x)).abs() < 2.5 * step.abs() / f64::from(N).sqrt(), "{x}: {mean}");
            }
        }
    }
}
