//! Detects that a run is going wrong.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::step::TOLERANCE;
use crate::{Metrics, TrainerConfig};

/// Steps over which the entropy is averaged, at the start and now.
const ENTROPY_STEPS: usize = 5;
/// The entropy has collapsed below this fraction of its initial value …
const ENTROPY_SHARE: f64 = 0.1;
/// … and below this many nats per token.
const ENTROPY_FLOOR: f64 = 0.05;
/// The KL divergence has blown up above this many nats per token …
const KL_CEILING: f64 = 1.0;
/// … for this many steps in a row.
const KL_STEPS: u64 = 3;
/// Steps in a row without any signal.
const FLAT_STEPS: u64 = 10;
/// Steps in a row in which every completion was cut off.
const TRUNCATED_STEPS: u64 = 3;
/// Steps after which a sampler mismatch is reported again.
const MISMATCH_STEPS: u64 = 10;
/// If the loss corrects for the sampler, the mean ratio must lie between the inverse of this value and this value.
const CORRECTION: f64 = 2.0;

/// Something that is going wrong with a run: the problem, the number that shows it, and what to do.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Diagnosis {
    /// The loss or the gradient was not finite, and the step was skipped.
    NonFinite {
        /// The loss.
        loss: f64,
        /// The gradient norm.
        grad_norm: f64,
        /// Steps skipped in a row.
        skipped: usize,
    },
    /// Policy entropy has collapsed.
    EntropyCollapse {
        /// Nats per token, mean over the last steps.
        entropy: f64,
        /// Nats per token, mean over the first steps.
        first: f64,
    },
    /// The policy is far from the reference.
    KlBlowUp {
        /// Nats per token.
        kl: f64,
        /// Steps in a row.
        steps: u64,
    },
    /// All completions of every group earned the same reward.
    NoSignal {
        /// The mean reward.
        reward: f64,
        /// Steps in a row.
        steps: u64,
    },
    /// Every completion was cut off.
    AllTruncated {
        /// Maximum tokens per completion.
        max_completion_length: usize,
        /// Steps in a row.
        steps: u64,
    },
    /// The sampler and the trainer disagree on the log-probability of a token.
    SamplerMismatch {
        /// The largest log-probability difference in the step.
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
                "not finite: the loss was {loss} and the gradient norm {grad_norm}, so no weight was changed ({skipped} \
                 steps skipped in a row); if this persists, start a new run with a lower learning rate"
            ),
            Self::EntropyCollapse { entropy, first } => write!(
                f,
                "entropy collapse: policy entropy has collapsed to {entropy:.4} nats per token over the last {ENTROPY_STEPS} steps, \
                 from {first:.4} over the first steps: the completions of a group hardly differ anymore; raise beta or the \
                 temperature, or lower the learning rate"
            ),
            Self::KlBlowUp { kl, steps } => write!(
                f,
                "KL blow-up: {kl:.2} nats per token, above {KL_CEILING} for {steps} steps in a row: the policy has moved far \
                 from its reference; start a new run from the model of an earlier checkpoint, with a lower learning rate or a \
                 higher beta"
            ),
            Self::NoSignal { reward, steps } => write!(
                f,
                "no signal: for {steps} steps in a row, all completions of every group earned the same (mean {reward:.2}), or with \
                 max_redraws the same from redraw_reward, so there was nothing to learn; use easier or harder problems, a larger \
                 group, a reward with more than two values, or another redraw_reward"
            ),
            Self::AllTruncated { max_completion_length, steps } => write!(
                f,
                "all truncated: for {steps} steps in a row, every completion was cut off at {max_completion_length} \
                 tokens; raise max_completion_length, or check that the model knows its stop token"
            ),
            Self::SamplerMismatch { difference, tolerance } => write!(
                f,
                "sampler mismatch: sampler and trainer differ by {difference:.1e} on the log-probability of a token, and \
                 rounding explains at most {tolerance:.0e}: if the gradient norm or the loss has exploded, the policy has \
                 diverged, and a lower learning rate helps; otherwise the two compute different models: please report it"
            ),
            Self::CorrectionOff { ratio } => write!(
                f,
                "sampler mismatch: the mean importance-sampling ratio is {ratio:.2}, outside 1/{CORRECTION} to \
                 {CORRECTION}: the sampler is too far from the policy; sample from the policy itself (rollout_dtype=f32)"
            ),
        }
    }
}

impl Serialize for Diagnosis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// State kept from earlier steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    first_entropies: Vec<f64>,
    last_entropies: Vec<f64>,
    collapsed: u64,
    kl: u64,
    flat: u64,
    truncated: u64,
    mismatched: u64,
}

impl Health {
    /// The diagnoses of a step. A persistent condition is reported again once per detection window.
    pub(crate) fn observe(&mut self, metrics: &Metrics, config: &TrainerConfig) -> Vec<Diagnosis> {
        let mut found = Vec::new();
        if metrics.skipped_steps > 0 {
            let Metrics { loss, grad_norm, skipped_steps: skipped, .. } = *metrics;
            found.push(Diagnosis::NonFinite { loss, grad_norm, skipped });
        } else if let Some(entropy) = metrics.entropy.filter(|entropy| entropy.is_finite()) {
            found.extend(self.entropy(entropy));
        }
        if lasts(&mut self.kl, metrics.kl.is_some_and(|kl| kl > KL_CEILING), KL_STEPS) {
            found.push(Diagnosis::KlBlowUp { kl: metrics.kl.unwrap_or(0.0), steps: self.kl });
        }
        if lasts(&mut self.flat, metrics.frac_reward_zero_std == 1.0, FLAT_STEPS) {
            found.push(Diagnosis::NoSignal { reward: metrics.reward, steps: self.flat });
        }
        if lasts(&mut self.truncated, metrics.completions_clipped_ratio == 1.0, TRUNCATED_STEPS) {
            let max_completion_length = config.max_completion_length;
            found.push(Diagnosis::AllTruncated { max_completion_length, steps: self.truncated });
        }
        found.extend(self.mismatch(metrics));
        found
    }

    /// Whether the sampler is too far from the trainer. A diverged policy has values so large that rounding alone causes a
    /// mismatch; then the divergence is the diagnosis.
    fn mismatch(&mut self, metrics: &Metrics) -> Option<Diagnosis> {
        let difference = metrics.sampling_logp_difference_max;
        let diagnosis = match metrics.importance_sampling_ratio_mean {
            Some(ratio) if !(1.0 / CORRECTION..=CORRECTION).contains(&ratio) => {
                Some(Diagnosis::CorrectionOff { ratio })
            }
            None if difference >= TOLERANCE.into() => {
                Some(Diagnosis::SamplerMismatch { difference, tolerance: TOLERANCE.into() })
            }
            _ => None,
        };
        let has_diverged = metrics.kl.is_some_and(|kl| kl > KL_CEILING || !kl.is_finite());
        let diagnosis = diagnosis.filter(|_| !has_diverged);
        let is_due = self.mismatched.is_multiple_of(MISMATCH_STEPS);
        self.mismatched = if diagnosis.is_some() { self.mismatched.saturating_add(1) } else { 0 };
        diagnosis.filter(|_| is_due)
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

/// Counts consecutive steps in which a condition holds, and fires after every `n` of them.
fn lasts(count: &mut u64, is_so: bool, n: u64) -> bool {
    *count = if is_so { count.saturating_add(1) } else { 0 };
    is_so && count.is_multiple_of(n)
}
