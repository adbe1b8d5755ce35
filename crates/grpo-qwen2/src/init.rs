//! Weights of an untrained model.

use std::convert::Infallible;

use burn::tensor::Device;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal};

use crate::builder::Builder;
use crate::weight_source::WeightSource;
use crate::{Config, Qwen2};

/// The standard deviation of a matrix's values (transformers' `initializer_range`).
const DEVIATION: f32 = 0.02;

impl Qwen2 {
    /// An untrained model with random weights: matrices drawn from a normal distribution with standard deviation 0.02
    /// (transformers' `initializer_range`), biases 0 and norms 1. The same seed gives the same model.
    pub fn init(config: Config, seed: u64, device: &Device) -> Self {
        let Ok(model) = Builder { source: &mut Random::new(seed), frozen: false, device }.model(config);
        model
    }
}

/// Random weights: normal matrices, biases 0, norms 1.
struct Random {
    generator: ChaCha8Rng,
    normal: Normal<f32>,
}

impl Random {
    fn new(seed: u64) -> Self {
        let normal = Normal::new(0.0, DEVIATION).expect("the deviation is a positive number");
        Self { generator: ChaCha8Rng::seed_from_u64(seed), normal }
    }
}

impl WeightSource for Random {
    type Error = Infallible;

    fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Infallible> {
        let n = shape.iter().product();
        Ok(match name {
            _ if name.ends_with(".bias") => vec![0.0; n],
            _ if name.ends_with("norm.weight") => vec![1.0; n],
            _ => self.normal.sample_iter(&mut self.generator).take(n).collect(),
        })
    }
}
