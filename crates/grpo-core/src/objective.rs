//! What is minimised: choices, and the papers as combinations of them.

/// How far the current policy has moved from the one that sampled, per token or per completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ratio {
    /// `exp(current − old)` of each token: GRPO (TRL's `importance_sampling_level="token"`).
    Token,
    /// `exp(mean over tokens of (current − old))`, one for the whole completion: GSPO (TRL's
    /// `importance_sampling_level="sequence"`).
    Sequence,
}

/// The trust region: a ratio earns nothing more outside of `[1 − low, 1 + high]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clip {
    /// How far below 1 (TRL's `epsilon`).
    pub low: f64,
    /// How far above 1 (TRL's `epsilon_high`; DAPO's "clip-higher" makes it larger than `low`).
    pub high: f64,
}

/// The estimator of the KL divergence from the reference at one token, where `d = reference − current`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kl {
    /// Schulman's k3, `exp(d) − d − 1`: never negative; its value is unbiased while the tokens are the
    /// current policy's own.
    K3,
    /// k3 times the ratio, which corrects for tokens that the old policy drew. The gradient flows through
    /// both factors (DeepSeek-V3.2; TRL's `use_bias_correction_kl`).
    BiasCorrectedK3,
}

/// How token losses become the loss of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Normalization {
    /// Mean over the tokens of a completion, then over completions: GRPO (TRL's `loss_type="grpo"`). A token
    /// of a short completion weighs more.
    Completion,
    /// Mean over all tokens of the step: DAPO (TRL's `loss_type="dapo"`, and `"bnpo"` where a step is one
    /// batch).
    Token,
    /// Sum over tokens, divided by completions times this maximal completion length, a constant: Dr. GRPO
    /// (TRL's `loss_type="dr_grpo"`). Every token weighs the same in every step.
    MaxLength(usize),
}

/// What is minimised.
///
/// For a token with ratio `ρ` and advantage `A`:
///
/// ```text
/// token loss = −min(min(ρ, delta) · A, clip(ρ, 1 − low, 1 + high) · A) + beta · KL
/// ```
///
/// The sum of a completion's token losses is [`completion_loss`](Self::completion_loss); the step's loss is
/// the sum over completions, each times its factor of [`scales`](Self::scales).
///
/// The fields are independent choices and papers are combinations of them. To change one of them:
///
/// ```
/// use grpo_core::{Clip, Objective};
///
/// let objective = Objective { clip: Clip { low: 0.2, high: 0.28 }, ..Objective::grpo() };
/// assert_eq!(objective.beta, 0.04);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Per token or per completion.
    pub ratio: Ratio,
    /// The trust region.
    pub clip: Clip,
    /// Upper bound of the ratio where clipping has none: with a negative advantage, a token that became much
    /// more probable is otherwise pushed back without limit. Larger than `1 + clip.high` to be of use
    /// (two-sided clipping, INTELLECT-2; TRL's `delta`).
    pub delta: Option<f64>,
    /// Weight of the KL divergence from the reference (TRL's `beta`). At 0 no reference is needed.
    pub beta: f64,
    /// How that divergence is estimated.
    pub kl: Kl,
    /// How token losses become the step's.
    pub normalization: Normalization,
}

impl Objective {
    /// GRPO as published (DeepSeekMath, with PPO's usual clip): ratio per token, clipped to 1 ± 0.2, KL with
    /// `beta` 0.04, mean over the tokens of a completion and then over completions.
    pub fn grpo() -> Self {
        Self {
            ratio: Ratio::Token,
            clip: Clip { low: 0.2, high: 0.2 },
            delta: None,
            beta: 0.04,
            kl: Kl::K3,
            normalization: Normalization::Completion,
        }
    }

    /// [`grpo`](Self::grpo) with the mean over all tokens of the step (TRL's `loss_type="bnpo"`).
    pub fn bnpo() -> Self {
        Self { normalization: Normalization::Token, ..Self::grpo() }
    }

    /// DAPO: mean over all tokens of the step, more room upwards (0.28) than downwards (0.2), no KL.
    pub fn dapo() -> Self {
        Self { clip: Clip { low: 0.2, high: 0.28 }, beta: 0.0, ..Self::bnpo() }
    }

    /// Dr. GRPO: a constant divisor in place of the completion's length, no KL. `max_completion_length` is
    /// the sampler's limit, in tokens. Its advantages are
    /// [`Advantage::Centered`](crate::Advantage::Centered).
    pub fn dr_grpo(max_completion_length: usize) -> Self {
        Self { beta: 0.0, normalization: Normalization::MaxLength(max_completion_length), ..Self::grpo() }
    }

    /// GSPO: one ratio per completion. It stays much closer to 1 than a token's, so the trust region is small
    /// (3e-4 below, 4e-4 above, as in the paper); no KL.
    pub fn gspo() -> Self {
        Self { ratio: Ratio::Sequence, clip: Clip { low: 3e-4, high: 4e-4 }, beta: 0.0, ..Self::grpo() }
    }

    /// Whether reference log-probabilities are needed: `beta` is not zero.
    pub fn needs_reference(&self) -> bool {
        self.beta != 0.0
    }

    /// The factor of each completion's loss in the loss of the step: `loss = Σ scale · completion loss`.
    ///
    /// `lengths` are the numbers of tokens of **all** completions of the step, those without a signal included.
    /// So the factors do not depend on how the step is split into micro-batches.
    ///
    /// | normalization | factor |
    /// |---|---|
    /// | [`Completion`](Normalization::Completion) | `1 / (completions · max(length, 1))` |
    /// | [`Token`](Normalization::Token) | `1 / max(sum of lengths, 1)` |
    /// | [`MaxLength(m)`](Normalization::MaxLength) | `1 / (completions · max(m, 1))` |
    ///
    /// ```
    /// use grpo_core::Objective;
    ///
    /// assert_eq!(Objective::grpo().scales(&[4, 1]), [0.125, 0.5]);
    /// assert_eq!(Objective::dapo().scales(&[4, 1]), [0.2, 0.2]);
    /// assert_eq!(Objective::dr_grpo(8).scales(&[4, 1]), [0.0625, 0.0625]);
    /// ```
    pub fn scales(&self, lengths: &[usize]) -> Vec<f64> {
        let completions = lengths.len() as f64;
        let tokens = lengths.iter().sum::<usize>();
        let divisor = |length: usize| match self.normalization {
            Normalization::Completion => completions * length.max(1) as f64,
            Normalization::Token => tokens.max(1) as f64,
            Normalization::MaxLength(maximum) => completions * maximum.max(1) as f64,
        };
        lengths.iter().map(|&length| 1.0 / divisor(length)).collect()
    }
}
