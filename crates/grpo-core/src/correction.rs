//! Importance sampling ratios for tokens drawn from a policy that differs slightly from the old one.

/// How a ratio outside its range is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Bound {
    /// It is clamped to the nearer end of the range (TRL's `"…_truncate"`).
    Truncate,
    /// It is set to 0: nothing is learned from what is so unlikely under one of the two policies (TRL's `"…_mask"`).
    Mask,
}

/// What each ratio belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Level {
    /// Every token (TRL's `"token_…"`).
    Token,
    /// Every completion: the product of its tokens' ratios (TRL's `"sequence_…"`).
    Sequence,
}

/// Importance sampling for a sampler that differs slightly from the old policy, for example because its weights are rounded
/// (Yao et al. 2025, "Your Efficient RL Framework Secretly Brings You Off-Policy Training"; TRL's
/// `vllm_importance_sampling_correction`).
///
/// The ratio `exp(old − sampled)`, bounded by `min` and `max`, is the weight of a token in
/// [`LogProbs::with_token_weights`](crate::LogProbs::with_token_weights) (TRL's `importance_sampling_ratio`).
///
/// ```
/// use grpo_core::{Bound, Level, SamplerCorrection};
///
/// let (old, sampled) = ([-1.0_f64, -0.5], [-1.0 - 2.0_f64.ln(), -0.5]);
/// let correction = SamplerCorrection { level: Level::Token, bound: Bound::Truncate, min: 0.0, max: 1.5 };
/// assert_eq!(correction.ratios(&old, &sampled), [1.5, 1.0]);
/// let sequence = SamplerCorrection { level: Level::Sequence, max: 3.0, ..correction };
/// assert!(sequence.ratios(&old, &sampled).iter().all(|ratio| (ratio - 2.0).abs() < 1e-12));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
pub struct SamplerCorrection {
    /// What each ratio belongs to.
    pub level: Level,
    /// How a ratio outside `min` to `max` is treated.
    pub bound: Bound,
    /// The lower end of the range (TRL's `vllm_importance_sampling_clip_min`).
    #[cfg_attr(feature = "serde", serde(rename = "importance_sampling_clip_min"))]
    pub min: f64,
    /// The upper end of the range (TRL's `vllm_importance_sampling_clip_max`).
    #[cfg_attr(feature = "serde", serde(rename = "importance_sampling_clip_max"))]
    pub max: f64,
}

impl Default for SamplerCorrection {
    /// TRL's default: completions that are more than three times as probable under the old policy are masked.
    fn default() -> Self {
        Self { level: Level::Sequence, bound: Bound::Mask, min: 0.0, max: 3.0 }
    }
}

impl SamplerCorrection {
    /// The bounded ratio of every token of a completion, given its log-probabilities under the old policy and under the
    /// sampler; with [`Level::Sequence`] the ratio of the completion, once per token.
    pub fn ratios(&self, old: &[f64], sampled: &[f64]) -> Vec<f64> {
        let log_ratios = old.iter().zip(sampled).map(|(old, sampled)| old - sampled);
        match self.level {
            Level::Token => log_ratios.map(|log_ratio| self.bounded(log_ratio.exp())).collect(),
            Level::Sequence => vec![self.bounded(log_ratios.sum::<f64>().exp()); old.len()],
        }
    }

    fn bounded(&self, ratio: f64) -> f64 {
        let end = if ratio > self.max {
            self.max
        } else if ratio < self.min {
            self.min
        } else {
            return ratio; // also what is not a number: the loss is to show it
        };
        match self.bound {
            Bound::Truncate => end,
            Bound::Mask => 0.0,
        }
    }
}
