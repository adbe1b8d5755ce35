//! The policy's part of a token's loss.

use crate::{LogProbs, Surrogate};

/// The surrogate of one ratio.
pub(crate) struct Term {
    pub(crate) loss: TokenLoss,
    /// The ratio is below the trust region and the advantage negative.
    pub(crate) clipped_low: bool,
    /// The ratio is above the trust region, or above CISPO's bound, and the advantage positive.
    pub(crate) clipped_high: bool,
}

/// The loss of each token with this ratio.
#[derive(Clone, Copy)]
pub(crate) enum TokenLoss {
    /// A function of the ratio.
    OfRatio {
        value: f64,
        /// The derivative with respect to the ratio's logarithm.
        slope: f64,
    },
    /// A constant times the token's log-probability.
    OfLogProb { factor: f64 },
}

impl Surrogate {
    /// The surrogate of a ratio; `phi` is the completion's.
    pub(crate) fn term(&self, ratio: f64, phi: Phi, advantage: f64) -> Term {
        match *self {
            Self::Clipped { low, high, delta } => {
                clipped(ratio, advantage, 1.0 - low, 1.0 + high, delta.unwrap_or(f64::INFINITY))
            }
            Self::Cispo { max } => Term {
                // Not `min`, which would hide a NaN ratio.
                loss: TokenLoss::OfLogProb { factor: -if ratio > max { max } else { ratio } * advantage },
                clipped_low: false,
                clipped_high: ratio > max && advantage > 0.0,
            },
            Self::Sapo { temperature_pos, temperature_neg } => {
                let temperature = if advantage > 0.0 { temperature_pos } else { temperature_neg };
                let gate = 1.0 / (1.0 + (-temperature * (ratio - 1.0)).exp());
                // A closed gate stays closed, even if the ratio is infinite.
                let opening = if gate == 1.0 { 0.0 } else { (1.0 - gate) * ratio };
                Term::unclipped(TokenLoss::OfRatio {
                    value: -4.0 / temperature * gate * advantage,
                    slope: -4.0 * gate * opening * advantage,
                })
            }
            Self::Vespo { .. } => {
                Term::unclipped(TokenLoss::OfLogProb { factor: -phi.of(advantage) * advantage })
            }
        }
    }

    /// VESPO's factor for a completion; 1 for the other surrogates.
    pub(crate) fn phi(&self, logprobs: &LogProbs<'_>) -> Phi {
        let Self::Vespo { k_pos, lambda_pos, k_neg, lambda_neg } = *self else {
            return Phi { not_negative: 1.0, negative: 1.0 };
        };
        let log_w: f64 = logprobs.log_ratios().map(|log_ratio| log_ratio.clamp(-20.0, 20.0)).sum();
        let log_w = log_w.clamp(1e-8_f64.ln(), 20.0);
        let phi = |k: f64, lambda: f64| (lambda.max(1e-4) * (1.0 - log_w.exp()) + k * log_w).exp();
        Phi { not_negative: phi(k_pos, lambda_pos), negative: phi(k_neg, lambda_neg) }
    }
}

/// VESPO's factor for a completion, which depends on the sign of the advantage.
#[derive(Clone, Copy)]
pub(crate) struct Phi {
    not_negative: f64,
    negative: f64,
}

impl Phi {
    fn of(self, advantage: f64) -> f64 {
        if advantage >= 0.0 { self.not_negative } else { self.negative }
    }

    /// The mean over tokens. If all advantages have the same sign, it equals one of the two, bit for bit.
    pub(crate) fn mean(self, advantages: &[f64]) -> f64 {
        let not_negative = advantages.iter().filter(|advantage| **advantage >= 0.0).count();
        match not_negative as f64 / advantages.len().max(1) as f64 {
            0.0 => self.negative,
            1.0 => self.not_negative,
            share => share * self.not_negative + (1.0 - share) * self.negative,
        }
    }
}

impl Term {
    fn unclipped(loss: TokenLoss) -> Self {
        Self { loss, clipped_low: false, clipped_high: false }
    }
}

fn clipped(ratio: f64, advantage: f64, lowest: f64, highest: f64, delta: f64) -> Term {
    // Pairs of a value and its derivative with respect to the logarithm of the ratio. As in torch, clamping to a bound has no
    // gradient at the bound itself, and the minimum of two equal values passes half of the gradient to each.
    let bounded = if ratio >= delta { (delta, 0.0) } else { (ratio, ratio) };
    let clipped = if ratio <= lowest {
        (lowest, 0.0)
    } else if ratio >= highest {
        (highest, 0.0)
    } else {
        (ratio, ratio)
    };
    let (a, b) = (bounded.0 * advantage, clipped.0 * advantage);
    let slope = if a < b {
        bounded.1
    } else if b < a {
        clipped.1
    } else {
        (bounded.1 + clipped.1) / 2.0
    };
    Term {
        loss: TokenLoss::OfRatio { value: -a.min(b), slope: -slope * advantage },
        clipped_low: bounded.0 < lowest && advantage < 0.0,
        clipped_high: bounded.0 > highest && advantage > 0.0,
    }
}
