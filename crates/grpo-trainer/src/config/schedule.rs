use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// How the learning rate changes after warm-up (TRL's `lr_scheduler_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Stays constant.
    Constant,
    /// Falls linearly to 0 over the given number of steps.
    Linear {
        /// Steps of the run, warm-up included.
        #[serde(rename = "num_training_steps")]
        steps: u64,
    },
    /// Falls along half a cosine to 0 over the given number of steps.
    Cosine {
        /// Steps of the run, warm-up included.
        #[serde(rename = "num_training_steps")]
        steps: u64,
    },
}

impl Schedule {
    /// The factor on the peak learning rate at `step` (from 0); it rises linearly to 1 over the first `warmup` steps.
    ///
    /// As in transformers, but shifted by one step during warm-up: in transformers, the first step has a learning rate of 0
    /// and trains nothing.
    pub fn factor(self, step: u64, warmup: u64) -> f64 {
        if step < warmup {
            return (step + 1) as f64 / warmup as f64;
        }
        let progress =
            |steps: u64| ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).min(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear { steps } => 1.0 - progress(steps),
            Self::Cosine { steps } => 0.5 * (1.0 + (PI * progress(steps)).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_rises_to_the_peak_and_the_rest_falls_to_zero() {
        let factors = |schedule: Schedule| [0, 1, 2, 6, 9, 10, 50].map(|step| schedule.factor(step, 2));
        assert_eq!(factors(Schedule::Constant), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(factors(Schedule::Linear { steps: 10 }), [0.5, 1.0, 1.0, 0.5, 0.125, 0.0, 0.0]);
        let cosine = factors(Schedule::Cosine { steps: 10 });
        assert_eq!(cosine[..3], [0.5, 1.0, 1.0]);
        assert!((cosine[3] - 0.5).abs() < 1e-12 && cosine[4] < 0.04 && cosine[5] == 0.0);
    }

    #[test]
    fn degenerate_lengths_are_finite() {
        for (step, steps, warmup) in [(0, 0, 0), (0, 1, 1), (5, 3, 9), (3, 3, 3)] {
            for schedule in [Schedule::Constant, Schedule::Linear { steps }, Schedule::Cosine { steps }] {
                assert!((0.0..=1.0).contains(&schedule.factor(step, warmup)));
            }
        }
    }
}
