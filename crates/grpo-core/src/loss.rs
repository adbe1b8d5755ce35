//! The loss of one completion, and its gradient.

use std::ops::{Add, Range};

use crate::logprobs::check_length;
use crate::surrogate::{Phi, Term, TokenLoss};
use crate::{Kl, LogProbs, LogProbsError, Objective, Ratio, mean};

/// The loss of one completion, its derivatives, and what metrics need. These numbers are not scaled yet: see
/// [`Objective::scales`].
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CompletionLoss {
    /// Sum of the token losses.
    pub loss: f64,
    /// The derivative of `loss` with respect to each current log-probability, in the order of the tokens.
    pub gradient: Vec<f64>,
    /// Number of ratios: one per token, or one in all with [`Ratio::Sequence`] (also for a completion without tokens). For a
    /// step, TRL's `clip_ratio/low_mean` is `Σ clipped_low / Σ n_ratios`; `high_mean` likewise; `region_mean` is their sum.
    pub n_ratios: usize,
    /// Ratios below `1 − low` with a negative advantage: already discouraged enough. A sequence ratio counts once if this is
    /// true for any token.
    pub clipped_low: usize,
    /// Ratios above `1 + high` with a positive advantage: already encouraged enough. With
    /// [`Surrogate::Cispo`](crate::Surrogate::Cispo) those above `max` (for a step, TRL's `cispo_clip_ratio`). A sequence ratio
    /// counts once if this is true for any token.
    pub clipped_high: usize,
    /// The factor φ of [`Surrogate::Vespo`](crate::Surrogate::Vespo), 1 for other surrogates. It depends on the sign of the
    /// advantage: if signs differ, this is the mean over tokens. The mean over completions is TRL's `vespo/phi_seq_mean`.
    pub phi: f64,
    /// Whether the completion was too far off the policy for its tokens with a negative advantage, of which there is at least
    /// one, to have a surrogate loss: see [`Objective::off_policy_threshold`].
    pub off_policy: bool,
    /// Sum over tokens of the estimated KL divergence from the reference, in nats, as in the loss (bias-corrected if that is
    /// on) but without `beta`; 0 if no reference was given. For a step, TRL's `kl` is `Σ kl / Σ tokens`.
    pub kl: f64,
}

/// Consecutive tokens with one ratio and one advantage, and so with one surrogate.
struct Stretch {
    tokens: Range<usize>,
    term: Term,
    off_policy: bool,
}

impl Objective {
    /// The loss of one completion and its gradient.
    ///
    /// `advantages` has one number per token. In GRPO it is the same for all tokens of a completion; with rewards for parts of
    /// it (steps, turns) the numbers differ. Each token's surrogate uses its own advantage, even if tokens share a [sequence
    /// ratio](Ratio::Sequence), as in TRL with advantages of shape (B, T). At kinks (a ratio on the edge of the trust region,
    /// for example) the gradient is the same as in torch 2.15.
    ///
    /// ```
    /// use grpo_core::{LogProbs, Recipe};
    ///
    /// let objective = Recipe::dapo(256).objective; // clips to [0.8, 1.28], no KL
    /// let (current, old) = ([1.1_f64.ln(), 1.5_f64.ln()], [0.0, 0.0]); // ratios 1.1 and 1.5
    /// let term = objective.completion_loss(LogProbs::new(&current, &old)?, &[2.0, 3.0])?;
    ///
    /// assert!((term.loss - (-2.0 * 1.1 - 3.0 * 1.28)).abs() < 1e-12);
    /// assert!((term.gradient[0] - (-2.0 * 1.1)).abs() < 1e-12);
    /// assert_eq!((term.gradient[1], term.clipped_high), (0.0, 1));
    /// # Ok::<(), grpo_core::LogProbsError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`LogProbsError::LengthMismatch`] if the numbers of advantages and tokens differ.
    /// [`LogProbsError::MissingReference`] if the objective has a KL term and `logprobs` has no reference.
    pub fn completion_loss(
        &self,
        logprobs: LogProbs<'_>,
        advantages: &[f64],
    ) -> Result<CompletionLoss, LogProbsError> {
        check_length("advantages", logprobs.current, advantages)?;
        if self.needs_reference() && logprobs.reference.is_none() {
            return Err(LogProbsError::MissingReference);
        }
        let phi = self.surrogate.phi(&logprobs);
        let ratios = self.ratios(&logprobs);
        let stretches = self.stretches(&logprobs, &ratios, phi, advantages);
        let (mut loss, mut gradient) = self.surrogate_loss(&logprobs, &stretches);
        let mut sum_of_kl = 0.0;
        if let Some(reference) = logprobs.reference {
            let (kl, slopes) = self.kl_term(logprobs.current, reference, &ratios);
            sum_of_kl = kl;
            loss += self.beta * kl;
            for (gradient, slope) in gradient.iter_mut().zip(slopes) {
                *gradient += self.beta * slope;
            }
        }
        // Stretches that share a ratio count once.
        let count = |clipped: fn(&Stretch) -> bool| {
            stretches.iter().filter(|stretch| clipped(stretch)).count().min(ratios.len())
        };
        Ok(CompletionLoss {
            loss,
            gradient,
            n_ratios: ratios.len(),
            clipped_low: count(|stretch| stretch.term.clipped_low),
            clipped_high: count(|stretch| stretch.term.clipped_high),
            phi: phi.mean(advantages),
            off_policy: stretches.iter().any(|stretch| stretch.off_policy),
            kl: sum_of_kl,
        })
    }

    /// The ratio of each token, or the single ratio of the completion.
    fn ratios(&self, logprobs: &LogProbs<'_>) -> Vec<f64> {
        match self.ratio {
            Ratio::Token => logprobs.log_ratios().map(f64::exp).collect(),
            Ratio::Sequence => vec![mean(logprobs.log_ratios()).exp()],
        }
    }

    /// The completion's stretches: its tokens, or with a sequence ratio its stretches of equal advantages.
    fn stretches(
        &self,
        logprobs: &LogProbs<'_>,
        ratios: &[f64],
        phi: Phi,
        advantages: &[f64],
    ) -> Vec<Stretch> {
        // NaN is no reason to leave a token out: the loss must show it.
        let too_far =
            self.off_policy_threshold.is_some_and(|threshold| -mean(logprobs.log_ratios()) > threshold);
        let mut end = 0;
        let stretch = |advantages: &[f64]| {
            let (tokens, advantage) = (end..end + advantages.len(), advantages[0]);
            end = tokens.end;
            let ratio = match self.ratio {
                Ratio::Token => ratios[tokens.start],
                Ratio::Sequence => ratios[0],
            };
            let term = self.surrogate.term(ratio, phi, advantage);
            Stretch { tokens, term, off_policy: too_far && advantage < 0.0 }
        };
        advantages.chunk_by(|a, b| self.ratio == Ratio::Sequence && a == b).map(stretch).collect()
    }

    /// The sum of surrogates times token weights, and its derivative with respect to each current log-probability.
    fn surrogate_loss(&self, logprobs: &LogProbs<'_>, stretches: &[Stretch]) -> (f64, Vec<f64>) {
        let weight = |token: usize| logprobs.token_weights.map_or(1.0, |token_weights| token_weights[token]);
        let on_policy = || stretches.iter().filter(|stretch| !stretch.off_policy);
        let mut loss = 0.0;
        let mut gradient = vec![0.0; logprobs.len()];
        for stretch in on_policy() {
            for token in stretch.tokens.clone() {
                let (value, slope) = match stretch.term.loss {
                    TokenLoss::OfRatio { value, slope } => (value, slope),
                    TokenLoss::OfLogProb { factor } => (factor * logprobs.current[token], factor),
                };
                loss += weight(token) * value;
                gradient[token] = slope * weight(token);
            }
        }
        if self.ratio == Ratio::Sequence {
            // The ratio is in the loss of all n tokens, and changes by 1/n with each log-probability.
            let n = logprobs.len() as f64;
            let shared = on_policy().filter_map(|stretch| match stretch.term.loss {
                TokenLoss::OfRatio { slope, .. } => {
                    Some(slope * (stretch.tokens.clone().map(weight).sum::<f64>() / n))
                }
                TokenLoss::OfLogProb { .. } => None,
            });
            if let Some(slope) = shared.reduce(f64::add) {
                gradient.fill(slope);
            }
        }
        (loss, gradient)
    }

    /// The sum over tokens of the estimated divergence, and its derivative with respect to each current log-probability.
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
