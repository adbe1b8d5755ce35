//! The loss of one completion, and its gradient.

use crate::surrogate::{Term, TokenLoss};
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
    /// Ratios above `1 + high` with a positive advantage: already encouraged enough. With
    /// [`Surrogate::Cispo`](crate::Surrogate::Cispo) those above `max` (of a step, TRL's `cispo_clip_ratio`).
    pub clipped_high: usize,
    /// The weight of the completion under [`Surrogate::Vespo`](crate::Surrogate::Vespo), 1 under the others. Its mean over
    /// completions is TRL's `vespo/phi_seq_mean`.
    pub phi: f64,
    /// Whether the completion was too far off the policy to have a surrogate loss: see
    /// [`Objective::off_policy_threshold`].
    pub off_policy: bool,
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
        let phi = self.surrogate.phi(&logprobs, advantage);
        let ratios = self.ratios(&logprobs);
        let terms: Vec<Term> =
            ratios.iter().map(|&ratio| self.surrogate.term(ratio, phi, advantage)).collect();
        let off_policy = self.is_off_policy(&logprobs, advantage);
        let (mut loss, mut gradient) = match off_policy {
            true => (0.0, vec![0.0; logprobs.len()]),
            false => self.surrogate_loss(&logprobs, &terms),
        };
        let mut sum_of_kl = 0.0;
        if let Some(reference) = logprobs.reference {
            let (kl, slopes) = self.kl_term(logprobs.current, reference, &ratios);
            sum_of_kl = kl;
            loss += self.beta * kl;
            for (gradient, slope) in gradient.iter_mut().zip(slopes) {
                *gradient += self.beta * slope;
            }
        }
        Ok(CompletionLoss {
            loss,
            gradient,
            n_ratios: terms.len(),
            clipped_low: terms.iter().filter(|term| term.clipped_low).count(),
            clipped_high: terms.iter().filter(|term| term.clipped_high).count(),
            phi,
            off_policy,
            kl: sum_of_kl,
        })
    }

    /// The ratio of each token, or the one of the completion.
    fn ratios(&self, logprobs: &LogProbs<'_>) -> Vec<f64> {
        match self.ratio {
            Ratio::Token => logprobs.log_ratios().map(f64::exp).collect(),
            Ratio::Sequence => vec![mean(logprobs.log_ratios()).exp()],
        }
    }

    fn is_off_policy(&self, logprobs: &LogProbs<'_>, advantage: f64) -> bool {
        // What is not a number is no reason to leave a completion out: the loss is to show it.
        self.off_policy_threshold
            .is_some_and(|threshold| advantage < 0.0 && -mean(logprobs.log_ratios()) > threshold)
    }

    /// The sum of weighted surrogates, and its derivative by each current log-probability.
    fn surrogate_loss(&self, logprobs: &LogProbs<'_>, terms: &[Term]) -> (f64, Vec<f64>) {
        let weight = |token: usize| logprobs.weights.map_or(1.0, |weights| weights[token]);
        // A sequence ratio is in the loss of all n tokens, and changes by 1/n with each log-probability.
        let mean_weight = mean((0..logprobs.len()).map(weight));
        let mut loss = 0.0;
        let mut gradient = Vec::with_capacity(logprobs.len());
        for (token, &current) in logprobs.current.iter().enumerate() {
            let (term, pull) = match self.ratio {
                Ratio::Token => (&terms[token], weight(token)),
                Ratio::Sequence => (&terms[0], mean_weight),
            };
            let (value, slope) = match term.loss {
                TokenLoss::OfRatio { value, slope } => (value, slope * pull),
                TokenLoss::OfLogProb { factor } => (factor * current, factor * weight(token)),
            };
            loss += weight(token) * value;
            gradient.push(slope);
        }
        (loss, gradient)
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

/// The mean; 0 of nothing.
fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}
