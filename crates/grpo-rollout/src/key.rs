use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The source of randomness of one completion: a uniform number for each of its tokens.
///
/// A number depends only on the key and on the token's index (ChaCha8, a counter-based generator), so numbers can be
/// requested in any order and as often as needed.
///
/// ```
/// use grpo_rollout::SampleKey;
/// let key = SampleKey { seed: 7, step: 0, problem: 3, sample: 1 };
/// assert_eq!(key.uniform(5), key.uniform(5));
/// assert_ne!(key.uniform(5), key.uniform(6));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SampleKey {
    /// The run's seed.
    pub seed: u64,
    /// The training step.
    pub step: u64,
    /// The problem's index in the data.
    pub problem: u64,
    /// The completion's index in its group.
    pub sample: u64,
}

impl SampleKey {
    /// A uniform number in `[0, 1)` with 53 random bits, for token `token` of the completion.
    pub fn uniform(&self, token: usize) -> f64 {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([self.seed, self.step, self.problem, self.sample]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(token as u64);
        (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_matters() {
        let base = SampleKey { seed: 1, step: 2, problem: 3, sample: 4 };
        let others = [
            SampleKey { seed: 2, ..base },
            SampleKey { step: 3, ..base },
            SampleKey { problem: 4, ..base },
            SampleKey { sample: 5, ..base },
            SampleKey { seed: 2, step: 1, ..base },
        ];
        for other in others {
            assert_ne!(base.uniform(0), other.uniform(0), "{other:?}");
        }
    }

    #[test]
    fn numbers_are_uniform() {
        let key = SampleKey { seed: 0, step: 0, problem: 0, sample: 0 };
        let n = 100_000;
        let mut counts = [0.0; 50];
        for token in 0..n {
            counts[(key.uniform(token) * 50.0) as usize] += 1.0;
        }
        let expected = n as f64 / 50.0;
        let chi_squared: f64 = counts.iter().map(|c| (c - expected) * (c - expected) / expected).sum();
        assert!(chi_squared < 85.4, "chi-squared {chi_squared} of 49 degrees of freedom, p < 0.001");
    }
}
