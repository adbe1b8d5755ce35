//! Weights of a model that has learned nothing.

use std::convert::Infallible;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal};

use crate::load::Source;

/// The deviation of a matrix's values (transformers' `initializer_range`).
const DEVIATION: f32 = 0.02;

/// Random weights: normal matrices, biases 0, norms 1.
pub(crate) struct Random {
    generator: ChaCha8Rng,
    normal: Normal<f32>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let normal = Normal::new(0.0, DEVIATION).expect("the deviation is a positive number");
        Self { generator: ChaCha8Rng::seed_from_u64(seed), normal }
    }
}

impl Source for Random {
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
