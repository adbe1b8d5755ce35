//! A share of trials, and how sure it is.

use serde::{Deserialize, Serialize};

/// The 97.5 % quantile of the normal distribution.
pub const Z: f64 = 1.959_963_984_540_054;

/// A share of trials, with the Wilson 95 % confidence interval of the probability behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Proportion {
    /// Trials that succeeded.
    pub successes: usize,
    /// All trials.
    pub trials: usize,
}

impl Proportion {
    /// The share; 0 of no trials.
    pub fn value(&self) -> f64 {
        self.successes as f64 / self.trials.max(1) as f64
    }

    /// Both ends of the interval (Wilson 1927, z = 1.96).
    pub fn interval(&self) -> (f64, f64) {
        if self.trials == 0 {
            return (0.0, 1.0);
        }
        let (p, n) = (self.value(), self.trials as f64);
        let scale = 1.0 + Z * Z / n;
        let center = (p + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((center - half).max(0.0), (center + half).min(1.0))
    }
}

impl std::fmt::Display for Proportion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = self.interval();
        let [value, low, high] = [self.value(), low, high].map(|x| 100.0 * x);
        write!(f, "{value:.1} % [{low:.1}, {high:.1}] ({}/{})", self.successes, self.trials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values by the closed formula of Wilson (1927), computed with statsmodels' `proportion_confint`.
    #[test]
    fn wilson_intervals() {
        for (successes, trials, low, high) in
            [(0, 10, 0.0, 0.277_533), (10, 10, 0.722_467, 1.0), (66, 200, 0.268_592, 0.397_822)]
        {
            let (l, h) = Proportion { successes, trials }.interval();
            assert!((l - low).abs() < 1e-4 && (h - high).abs() < 1e-4, "{successes}/{trials}: {l} {h}");
        }
        assert_eq!(Proportion { successes: 0, trials: 0 }.interval(), (0.0, 1.0));
    }
}
