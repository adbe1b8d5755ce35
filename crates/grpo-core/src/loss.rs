//! The loss of one completion, and its gradient.

use crate::{Kl, LogProbs, LogProbsError, Objective, Ratio};

/// The loss of one completion, its derivatives, and what metrics need. Nothing here is scaled yet: see
/// [`Objective::scales`].
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionLoss {
    /// Sum of the token losses.
    pub loss: f64,
    /// The derivative of `loss` by each current log-probability, in the order of the tokens.
    pub gradient: Vec<f64>,
    /// Number of ratios: one per token, or with [`Ratio::Sequence`] one (also of a completion without
    /// tokens). Of a step, TRL's `clip_ratio/low_mean` is `Σ clipped_low / Σ n_ratios`; `high_mean` likewise;
    /// `region_mean` is their sum.
    pub n_ratios: usize,
    /// Ratios below `1 − low` with a negative advantage: already discouraged enough.
    pub clipped_low: usize,
    /// Ratios above `1 + high` with a positive advantage: already encouraged enough.
    pub clipped_high: usize,
    /// Sum over tokens of the estimated KL divergence from the reference, in nats, as the loss has it (so
    /// bias corrected where that is on) but without `beta`; 0 where no reference was given. Of a step, TRL's
    /// `kl` is `Σ kl / Σ tokens`.
    pub kl: f64,
}

impl Objective {
    /// The loss of one completion and its gradient.
    ///
    /// `advantage` is the completion's, the same for each of its tokens. At kinks (a ratio on the edge of the
    /// trust region, say) the gradient is the one that torch 2.15 gives.
    ///
    /// ```
    /// use grpo_core::{LogProbs, Objective};
    ///
    /// let objective = Objective::dapo(); // clips to [0.8, 1.28], no KL
    /// let (current, old) = ([1.1_f64.ln(), 1.5_f64.ln()], [0.0, 0.0]); // ratios 1.1 and 1.5
    /// let term = objective.completion_loss(LogProbs::new(&current, &old)?, 2.0)?;
    ///
    /// assert!((term.loss - (-2.0 * (1.1 + 1.28))).abs() < 1e-12);
    /// assert!((term.gradient[0] - (-2.0 * 1.1)).abs() < 1e-12);
    /// assert_eq!((term.gradient[1], term.clipped_high), (0.0, 1));
    /// # Ok::<(), grpo_core::LogProbsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LogProbsError::MissingReference`] where the objective has a KL term and `logprobs` no reference.
    pub fn completion_loss(
        &self,
        logprobs: LogProbs<'_>,
        advantage: f64,
    ) -> Result<CompletionLoss, LogProbsError> {
        if self.needs_reference() && logprobs.reference.is_none() {
            return Err(LogProbsError::MissingReference);
        }
        let ratios = self.ratios(&logprobs);
        let surrogates: Vec<Surrogate> =
            ratios.iter().map(|&ratio| self.surrogate(ratio, advantage)).collect();
        let of_token = |token| &surrogates[self.ratio_index(token)];

        // A sequence ratio changes by 1/n with each log-probability, but is in the loss of n tokens: the
        // factors cancel, and both kinds of ratio have the same derivative.
        let mut term = CompletionLoss {
            loss: (0..logprobs.len()).map(|token| of_token(token).loss).sum(),
            gradient: (0..logprobs.len()).map(|token| of_token(token).slope).collect(),
            n_ratios: surrogates.len(),
            clipped_low: surrogates.iter().filter(|surrogate| surrogate.clipped_low).count(),
            clipped_high: surrogates.iter().filter(|surrogate| surrogate.clipped_high).count(),
            kl: 0.0,
        };
        if let Some(reference) = logprobs.reference {
            let (kl, slopes) = self.kl_term(logprobs.current, reference, &ratios);
            term.kl = kl;
            term.loss += self.beta * kl;
            for (gradient, slope) in term.gradient.iter_mut().zip(slopes) {
                *gradient += self.beta * slope;
            }
        }
        Ok(term)
    }

    /// The ratio of each token, or the one of the completion.
    fn ratios(&self, logprobs: &LogProbs<'_>) -> Vec<f64> {
        let log_ratios = logprobs.current.iter().zip(logprobs.old).map(|(current, old)| current - old);
        match self.ratio {
            Ratio::Token => log_ratios.map(f64::exp).collect(),
            Ratio::Sequence => vec![(log_ratios.sum::<f64>() / logprobs.len().max(1) as f64).exp()],
        }
    }

    /// Which of the [`ratios`](Self::ratios) is that of a token.
    fn ratio_index(&self, token: usize) -> usize {
        match self.ratio {
            Ratio::Token => token,
            Ratio::Sequence => 0,
        }
    }

    /// The policy's part of a token loss.
    fn surrogate(&self, ratio: f64, advantage: f64) -> Surrogate {
        let (lowest, highest) = (1.0 - self.clip.low, 1.0 + self.clip.high);
        // Pairs of a value and its derivative by the logarithm of the ratio. As in torch, clamping to a bound
        // has no gradient on the bound itself, and the minimum of equals has half of each gradient.
        let bounded = match self.delta {
            Some(delta) if ratio >= delta => (delta, 0.0),
            _ => (ratio, ratio),
        };
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
        Surrogate {
            loss: -a.min(b),
            slope: -slope * advantage,
            clipped_low: bounded.0 < lowest && advantage < 0.0,
            clipped_high: bounded.0 > highest && advantage > 0.0,
        }
    }

    /// The sum over tokens of the estimated divergence, and its derivative by each current log-probability.
    fn kl_term(&self, current: &[f64], reference: &[f64], ratios: &[f64]) -> (f64, Vec<f64>) {
        let log_ratios = || reference.iter().zip(current).map(|(reference, current)| reference - current);
        let k3: Vec<f64> = log_ratios().map(|d| d.exp_m1() - d).collect();
        let slopes = log_ratios().map(|d| -d.exp_m1());
        let sum: f64 = k3.iter().sum();
        match (self.kl, self.ratio) {
            (Kl::K3, _) => (sum, slopes.collect()),
            (Kl::BiasCorrectedK3, Ratio::Token) => {
                let corrected = k3.iter().zip(ratios).map(|(k3, ratio)| k3 * ratio);
                let slopes = slopes.zip(&k3).zip(ratios).map(|((slope, k3), ratio)| (slope + k3) * ratio);
                (corrected.sum(), slopes.collect())
            }
            (Kl::BiasCorrectedK3, Ratio::Sequence) => {
                let (ratio, mean) = (ratios[0], sum / k3.len().max(1) as f64);
                (sum * ratio, slopes.map(|slope| (slope + mean) * ratio).collect())
            }
        }
    }
}

/// The policy's part of the loss of a token.
struct Surrogate {
    loss: f64,
    /// The derivative of the loss by the logarithm of the ratio.
    slope: f64,
    clipped_low: bool,
    clipped_high: bool,
}
