//! What tells that a run is going wrong.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::step::TOLERANCE;
use crate::{Metrics, TrainerConfig};

/// Steps that the entropy is averaged over, at the beginning and now.
const ENTROPY_STEPS: usize = 5;
/// The entropy has collapsed below this share of what it was at first …
const ENTROPY_SHARE: f64 = 0.1;
/// … and this many nats of a token.
const ENTROPY_FLOOR: f64 = 0.05;
/// The KL divergence has blown up above this many nats of a token …
const KL_CEILING: f64 = 1.0;
/// … for so many steps in a row.
const KL_STEPS: u64 = 3;
/// Steps in a row without any signal.
const FLAT_STEPS: u64 = 10;
/// Steps in a row in which every completion was cut off.
const TRUNCATED_STEPS: u64 = 3;
/// Where the loss corrects for the sampler, the mean ratio must lie between the inverse of this and this.
const CORRECTION: f64 = 2.0;

/// Something that is going wrong with a run: what, the figure that tells, and what to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Diagnosis {
    /// The loss or the gradient was not a number, and the step was skipped.
    NonFinite {
        /// The loss.
        loss: f64,
        /// The gradient's norm.
        grad_norm: f64,
        /// Steps skipped in a row.
        skipped: usize,
    },
    /// The policy has almost stopped choosing between tokens.
    EntropyCollapse {
        /// Nats of a token, mean of the last steps.
        entropy: f64,
        /// The same of the first steps.
        first: f64,
    },
    /// The policy is far from the reference.
    KlBlowUp {
        /// Nats of a token.
        kl: f64,
        /// Steps in a row.
        steps: u64,
    },
    /// All completions of every group earned the same.
    NoSpread {
        /// The mean reward.
        reward: f64,
        /// Steps in a row.
        steps: u64,
    },
    /// Every completion was cut off.
    AllTruncated {
        /// The most tokens of a completion.
        max_completion_length: usize,
        /// Steps in a row.
        steps: u64,
    },
    /// The sampler and the trainer disagree on how probable a token was.
    SamplerMismatch {
        /// The largest difference of log-probabilities in the step.
        difference: f64,
        /// The difference that rounding explains.
        tolerance: f64,
    },
    /// The sampler is too far from the policy to be corrected for.
    CorrectionOff {
        /// The mean factor.
        ratio: f64,
    },
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonFinite { loss, grad_norm, skipped } => write!(
                f,
                "not finite: the loss was {loss} and the gradient's norm {grad_norm}, so nothing was moved ({skipped} \
                 steps skipped in a row); if it goes on, begin a new run with a lower learning rate"
            ),
            Self::EntropyCollapse { entropy, first } => write!(
                f,
                "entropy collapse: {entropy:.4} nats per token over the last {ENTROPY_STEPS} steps, {first:.4} over the \
                 first: completions of a group hardly differ any more; raise beta or the temperature, or lower the \
                 learning rate"
            ),
            Self::KlBlowUp { kl, steps } => write!(
                f,
                "KL blow-up: {kl:.2} nats per token, above {KL_CEILING} for {steps} steps in a row: the policy has left \
                 its reference; begin a new run, from the model of an earlier checkpoint, with a higher beta or a lower \
                 learning rate"
            ),
            Self::NoSpread { reward, steps } => write!(
                f,
                "no spread of rewards: for {steps} steps in a row every completion of a group earned the same (mean \
                 {reward:.2}), so nothing can be learned; take easier or harder problems, a larger group, or a reward \
                 with more than two values"
            ),
            Self::AllTruncated { max_completion_length, steps } => write!(
                f,
                "all truncated: for {steps} steps in a row every completion was cut off at {max_completion_length} \
                 tokens; raise the maximum length, or check that the model knows its stop token"
            ),
            Self::SamplerMismatch { difference, tolerance } => write!(
                f,
                "sampler mismatch: sampler and trainer differ by {difference:.1e} on the log-probability of a token, and \
                 rounding explains {tolerance:.0e}: one of them computes another model; please report it"
            ),
            Self::CorrectionOff { ratio } => write!(
                f,
                "sampler mismatch: the sampler's tokens are corrected by {ratio:.2} on average, further than \
                 {CORRECTION} or its inverse; sample from the policy itself"
            ),
        }
    }
}

impl Serialize for Diagnosis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What has to be remembered of earlier steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    first_entropies: Vec<f64>,
    last_entropies: Vec<f64>,
    collapsed: u64,
    kl: u64,
    flat: u64,
    truncated: u64,
}

impl Health {
    /// What a step shows. Something that lasts is said again after as many steps as it took to be said. `trained` tells
    /// whether the step trained on any token.
    pub(crate) fn observe(
        &mut self,
        metrics: &Metrics,
        trained: bool,
        config: &TrainerConfig,
    ) -> Vec<Diagnosis> {
        let mut found = Vec::new();
        if metrics.skipped_steps > 0 {
            let Metrics { loss, grad_norm, skipped_steps: skipped, .. } = *metrics;
            found.push(Diagnosis::NonFinite { loss, grad_norm, skipped });
        } else if trained && metrics.entropy.is_finite() {
            found.extend(self.entropy(metrics.entropy));
        }
        if lasts(&mut self.kl, metrics.kl.is_some_and(|kl| kl > KL_CEILING), KL_STEPS) {
            found.push(Diagnosis::KlBlowUp { kl: metrics.kl.unwrap_or(0.0), steps: self.kl });
        }
        if lasts(&mut self.flat, metrics.frac_reward_zero_std == 1.0, FLAT_STEPS) {
            found.push(Diagnosis::NoSpread { reward: metrics.reward, steps: self.flat });
        }
        if lasts(&mut self.truncated, metrics.completions_clipped_ratio == 1.0, TRUNCATED_STEPS) {
            let max_completion_length = config.max_completion_length;
            found.push(Diagnosis::AllTruncated { max_completion_length, steps: self.truncated });
        }
        let difference = metrics.sampling_logp_difference_max;
        match metrics.importance_sampling_ratio_mean {
            Some(ratio) if !(1.0 / CORRECTION..=CORRECTION).contains(&ratio) => {
                found.push(Diagnosis::CorrectionOff { ratio });
            }
            None if difference >= TOLERANCE.into() => {
                found.push(Diagnosis::SamplerMismatch { difference, tolerance: TOLERANCE.into() })
            }
            _ => {}
        }
        found
    }

    fn entropy(&mut self, entropy: f64) -> Option<Diagnosis> {
        if self.first_entropies.len() < ENTROPY_STEPS {
            self.first_entropies.push(entropy);
        }
        if self.last_entropies.len() == ENTROPY_STEPS {
            self.last_entropies.remove(0);
        }
        self.last_entropies.push(entropy);
        let mean = |of: &[f64]| grpo_core::mean(of.iter().copied());
        let (first, entropy) = (mean(&self.first_entropies), mean(&self.last_entropies));
        let collapsed = entropy < ENTROPY_FLOOR.min(ENTROPY_SHARE * first);
        lasts(&mut self.collapsed, collapsed, ENTROPY_STEPS as u64)
            .then_some(Diagnosis::EntropyCollapse { entropy, first })
    }
}

/// Counts the steps in a row in which something is so, and tells after every `n` of them.
fn lasts(count: &mut u64, is_so: bool, n: u64) -> bool {
    *count = if is_so { count.saturating_add(1) } else { 0 };
    is_so && count.is_multiple_of(n)
}
