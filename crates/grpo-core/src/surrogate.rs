//! The policy's part of a token's loss.

use crate::{LogProbs, Surrogate};

/// The surrogate of one ratio.
pub(crate) struct Term {
    pub(crate) loss: TokenLoss,
    /// The ratio is below the trust region and the advantage negative.
    pub(crate) clipped_low: bool,
    /// The ratio is above the trust region, or a weight at its bound, and the advantage positive.
    pub(crate) clipped_high: bool,
}

/// The loss of each token that has the ratio.
#[derive(Clone, Copy)]
pub(crate) enum TokenLoss {
    /// A function of the ratio.
    OfRatio {
        value: f64,
        /// The derivative by the ratio's logarithm.
        slope: f64,
    },
    /// A constant times the token's log-probability.
    OfLogProb { factor: f64 },
}

impl Surrogate {
    /// The surrogate of a ratio; `phi` is VESPO's weight.
    pub(crate) fn term(&self, ratio: f64, phi: f64, advantage: f64) -> Term {
        match *self {
            Self::Clipped { low, high, delta } => {
                clipped(ratio, advantage, 1.0 - low, 1.0 + high, delta.unwrap_or(f64::INFINITY))
            }
            Self::Cispo { max } => Term {
                // Not `min`, which would hide a ratio that is not a number.
                loss: TokenLoss::OfLogProb { factor: -if ratio > max { max } else { ratio } * advantage },
                clipped_low: false,
                clipped_high: ratio > max && advantage > 0.0,
            },
            Self::Sapo { temperature_pos, temperature_neg } => {
                let temperature = if advantage > 0.0 { temperature_pos } else { temperature_neg };
                let gate = 1.0 / (1.0 + (-temperature * (ratio - 1.0)).exp());
                // A gate that is closed stays so, even where the ratio is infinite.
                let opening = if gate == 1.0 { 0.0 } else { (1.0 - gate) * ratio };
                Term::unclipped(TokenLoss::OfRatio {
                    value: -4.0 / temperature * gate * advantage,
                    slope: -4.0 * gate * opening * advantage,
                })
            }
            Self::Vespo { .. } => Term::unclipped(TokenLoss::OfLogProb { factor: -phi * advantage }),
        }
    }

    /// VESPO's weight of a completion; 1 for the others.
    pub(crate) fn phi(&self, logprobs: &LogProbs<'_>, advantage: f64) -> f64 {
        let Self::Vespo { k_pos, lambda_pos, k_neg, lambda_neg } = *self else { return 1.0 };
        let (k, lambda) = if advantage >= 0.0 { (k_pos, lambda_pos) } else { (k_neg, lambda_neg) };
        let lambda = lambda.max(1e-4);
        let log_w: f64 = logprobs.log_ratios().map(|log_ratio| log_ratio.clamp(-20.0, 20.0)).sum();
        let log_w = log_w.clamp(1e-8_f64.ln(), 20.0);
        (lambda * (1.0 - log_w.exp()) + k * log_w).exp()
    }
}

impl Term {
    fn unclipped(loss: TokenLoss) -> Self {
        Self { loss, clipped_low: false, clipped_high: false }
    }
}

fn clipped(ratio: f64, advantage: f64, lowest: f64, highest: f64, delta: f64) -> Term {
    // Pairs of a value and its derivative by the logarithm of the ratio. As in torch, clamping to a bound
    // has no gradient on the bound itself, and the minimum of equals has half of each gradient.
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
