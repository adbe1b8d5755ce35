//! The objective to minimize: its choices, and the factors that combine completions.

/// How far the current policy has moved from the one that sampled, per token or per completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Ratio {
    /// `exp(current − old)` of each token: GRPO (TRL's `importance_sampling_level="token"`).
    Token,
    /// `exp(mean over tokens of (current − old))`, one for the whole completion: GSPO (TRL's
    /// `importance_sampling_level="sequence"`).
    Sequence,
}

/// The surrogate loss for a token's ratio `ρ` and advantage `A`: the part of its loss that is not KL.
///
/// `sg` is stop-gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Surrogate {
    /// `−min(min(ρ, delta) · A, clip(ρ, 1 − low, 1 + high) · A)`: PPO and GRPO. Beyond the trust region the loss does not
    /// improve further, and the token has no gradient.
    Clipped {
        /// How far below 1 the trust region reaches (TRL's `epsilon`).
        #[cfg_attr(feature = "serde", serde(rename = "epsilon"))]
        low: f64,
        /// How far above 1 (TRL's `epsilon_high`; DAPO's "clip-higher" makes it larger than `low`).
        #[cfg_attr(feature = "serde", serde(rename = "epsilon_high"))]
        high: f64,
        /// Upper bound of the ratio where clipping sets none: otherwise, with a negative advantage, a token that became much
        /// more probable is pushed back without limit. Useful only above `1 + high` (two-sided clipping, INTELLECT-2; TRL's
        /// `delta`).
        delta: Option<f64>,
    },
    /// `−sg(min(ρ, max)) · A · current`: CISPO (MiniMax-M1; TRL's `loss_type="cispo"`). The ratio is bounded as a factor of
    /// the gradient, so no token loses its gradient.
    Cispo {
        /// The maximum factor (TRL's `epsilon_high`, which is not a distance from 1 here).
        #[cfg_attr(feature = "serde", serde(rename = "epsilon_high"))]
        max: f64,
    },
    /// `−4/τ · sigmoid(τ · (ρ − 1)) · A`: SAPO (TRL's `loss_type="sapo"`). A smoothly closing gate instead of a clip.
    Sapo {
        /// τ for positive advantages (TRL's `sapo_temperature_pos`).
        #[cfg_attr(feature = "serde", serde(rename = "sapo_temperature_pos"))]
        temperature_pos: f64,
        /// τ for all other advantages (TRL's `sapo_temperature_neg`); a larger value closes the gate sooner.
        #[cfg_attr(feature = "serde", serde(rename = "sapo_temperature_neg"))]
        temperature_neg: f64,
    },
    /// `−sg(φ) · A · current` with `φ = exp(λ · (1 − w) + k · ln w)` and `w = exp(sum over tokens of (current − old))`: VESPO
    /// (TRL's `loss_type="vespo"`). `φ` is 1 at `w = 1`, largest at `w = k/λ`, and vanishes far from there. Each token's log
    /// ratio is clamped to ±20, and `ln w` to between `ln 1e-8` and 20.
    Vespo {
        /// k for advantages of 0 or more: how much a small `w` is damped (TRL's `vespo_k_pos`).
        #[cfg_attr(feature = "serde", serde(rename = "vespo_k_pos"))]
        k_pos: f64,
        /// λ for advantages of 0 or more: how much a large `w` is damped (TRL's `vespo_lambda_pos`).
        #[cfg_attr(feature = "serde", serde(rename = "vespo_lambda_pos"))]
        lambda_pos: f64,
        /// k for negative advantages (TRL's `vespo_k_neg`).
        #[cfg_attr(feature = "serde", serde(rename = "vespo_k_neg"))]
        k_neg: f64,
        /// λ for negative advantages (TRL's `vespo_lambda_neg`).
        #[cfg_attr(feature = "serde", serde(rename = "vespo_lambda_neg"))]
        lambda_neg: f64,
    },
}

/// The estimator of the KL divergence from the reference at one token, where `d = reference − current`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Kl {
    /// Schulman's k3, `exp(d) − d − 1`: never negative; its value is unbiased as long as the tokens come from the current policy.
    K3,
    /// k3 times the ratio, which corrects for sampling from the old policy. The gradient flows through both factors
    /// (DeepSeek-V3.2; TRL's `use_bias_correction_kl`).
    BiasCorrectedK3,
}

/// How token losses become the loss of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Normalization {
    /// Mean over the tokens of a completion, then over completions: GRPO (TRL's `loss_type="grpo"`). Tokens of short
    /// completions count more.
    Completion,
    /// Mean over all tokens of the step: DAPO (TRL's `loss_type="dapo"`, and `"bnpo"` if a step is one batch).
    Token,
    /// Sum over tokens, divided by the number of completions times this maximum completion length, a constant: Dr. GRPO
    /// (TRL's `loss_type="dr_grpo"`). Every token counts the same in every step.
    MaxLength(usize),
    /// Sum over the tokens of a completion, then mean over completions: LUSPO (TRL's `loss_type="luspo"`).
    Sum,
}

/// The objective to minimize.
///
/// ```text
/// token loss = token weight · surrogate(ρ, A) + beta · KL
/// ```
///
/// The token weight is 1 unless [`LogProbs::with_token_weights`](crate::LogProbs::with_token_weights) says otherwise. The sum
/// of a completion's token losses is [`completion_loss`](Self::completion_loss); the step's loss is the sum over completions,
/// each times its factor from [`scales`](Self::scales).
///
/// The fields are independent choices. The papers' choices, with what goes with them besides the loss, are
/// [`Recipe`](crate::Recipe)s. To change one of them:
///
/// ```
/// use grpo_core::{Objective, Surrogate};
///
/// let surrogate = Surrogate::Clipped { low: 0.2, high: 0.28, delta: Some(4.0) };
/// let objective = Objective { surrogate, ..Objective::default() };
/// assert_eq!(objective.beta, 0.04);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Objective {
    /// Per token or per completion.
    #[cfg_attr(feature = "serde", serde(rename = "importance_sampling_level"))]
    pub ratio: Ratio,
    /// The surrogate loss.
    pub surrogate: Surrogate,
    /// Coefficient of the KL divergence from the reference (TRL's `beta`). At 0, no reference is needed.
    pub beta: f64,
    /// How that divergence is estimated.
    pub kl: Kl,
    /// How token losses become the step's loss.
    pub normalization: Normalization,
    /// Tokens with a negative advantage have no surrogate loss if the mean of `old − current` over the tokens of their
    /// completion is larger than this: what the policy has already unlearned is too far off-policy to learn from
    /// (DeepSeek-V3.2, eq. 9; TRL's `off_policy_mask_threshold`).
    #[cfg_attr(feature = "serde", serde(rename = "off_policy_mask_threshold"))]
    pub off_policy_threshold: Option<f64>,
    /// The share of tokens that have a surrogate loss: those with the highest entropy (TRL's `top_entropy_quantile`; the
    /// paper, arXiv 2506.01939, recommends 0.2). At 1, all have one. It must be applied by the caller, which knows the
    /// entropies of the whole step, with [`entropy_threshold`](Self::entropy_threshold) and token weights of 0 and 1.
    pub top_entropy_quantile: f64,
}

impl Default for Objective {
    /// GRPO's: see [`Recipe::grpo`](crate::Recipe::grpo).
    fn default() -> Self {
        Self {
            ratio: Ratio::Token,
            surrogate: Surrogate::Clipped { low: 0.2, high: 0.2, delta: None },
            beta: 0.04,
            kl: Kl::K3,
            normalization: Normalization::Completion,
            off_policy_threshold: None,
            top_entropy_quantile: 1.0,
        }
    }
}

impl Objective {
    /// Whether reference log-probabilities are needed: `beta` is not zero.
    pub fn needs_reference(&self) -> bool {
        self.beta != 0.0
    }

    /// The factor of each completion's loss in the loss of the step: `loss = Σ scale · completion loss`.
    ///
    /// `lengths` are the token counts of **all** completions of the step, including those without a signal, with 0 for masked
    /// completions. So the factors do not depend on how the step is split into micro-batches.
    ///
    /// | normalization | factor |
    /// |---|---|
    /// | [`Completion`](Normalization::Completion) | `1 / (completions · max(length, 1))` |
    /// | [`Token`](Normalization::Token) | `1 / max(sum of lengths, 1)` |
    /// | [`MaxLength(m)`](Normalization::MaxLength) | `1 / (completions · max(m, 1))` |
    /// | [`Sum`](Normalization::Sum) | `1 / completions` |
    ///
    /// ```
    /// use grpo_core::Recipe;
    ///
    /// assert_eq!(Recipe::grpo().objective.scales(&[4, 1]), [0.125, 0.5]);
    /// assert_eq!(Recipe::dapo(8).objective.scales(&[4, 1]), [0.2, 0.2]);
    /// assert_eq!(Recipe::dr_grpo(8).objective.scales(&[4, 1]), [0.0625, 0.0625]);
    /// assert_eq!(Recipe::luspo().objective.scales(&[4, 1]), [0.5, 0.5]);
    /// ```
    pub fn scales(&self, lengths: &[usize]) -> Vec<f64> {
        let completions = lengths.len() as f64;
        let tokens = lengths.iter().sum::<usize>();
        let divisor = |length: usize| match self.normalization {
            Normalization::Completion => completions * length.max(1) as f64,
            Normalization::Token => tokens.max(1) as f64,
            Normalization::MaxLength(maximum) => completions * maximum.max(1) as f64,
            Normalization::Sum => completions,
        };
        lengths.iter().map(|&length| 1.0 / divisor(length)).collect()
    }

    /// The minimum entropy at which a token has a surrogate loss, given the entropies of **all** tokens of the step: their
    /// quantile `1 − top_entropy_quantile`, interpolated as in torch and NumPy. None if all tokens have one.
    ///
    /// ```
    /// use grpo_core::Objective;
    ///
    /// let objective = Objective { top_entropy_quantile: 0.5, ..Objective::default() };
    /// assert_eq!(objective.entropy_threshold(vec![0.1, 1.2, 0.7, 0.9]), Some(0.8));
    /// assert_eq!(Objective::default().entropy_threshold(vec![0.1, 1.2]), None);
    /// ```
    pub fn entropy_threshold(&self, entropies: impl IntoIterator<Item = f64>) -> Option<f64> {
        if self.top_entropy_quantile >= 1.0 {
            return None;
        }
        let mut entropies: Vec<f64> = entropies.into_iter().collect();
        let last = entropies.len().checked_sub(1)?;
        entropies.sort_by(f64::total_cmp);
        let position = (1.0 - self.top_entropy_quantile).clamp(0.0, 1.0) * last as f64;
        let (low, high) = (entropies[position.floor() as usize], entropies[position.ceil() as usize]);
        Some(low + (high - low) * position.fract())
    }
}
