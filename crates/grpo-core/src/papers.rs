//! The papers as combinations of choices.

use crate::{Kl, Normalization, Objective, Ratio, Surrogate};

impl Objective {
    /// GRPO as published (DeepSeekMath, with PPO's usual clip): ratio per token, clipped to 1 ± 0.2, KL with
    /// `beta` 0.04, mean over the tokens of a completion and then over completions.
    pub fn grpo() -> Self {
        Self {
            ratio: Ratio::Token,
            surrogate: clipped(0.2, 0.2),
            beta: 0.04,
            kl: Kl::K3,
            normalization: Normalization::Completion,
            off_policy_threshold: None,
            top_entropy_quantile: 1.0,
        }
    }

    /// [`grpo`](Self::grpo) with the mean over all tokens of the step (TRL's `loss_type="bnpo"`).
    pub fn bnpo() -> Self {
        Self { normalization: Normalization::Token, ..Self::grpo() }
    }

    /// DAPO: mean over all tokens of the step, more room upwards (0.28) than downwards (0.2), no KL.
    pub fn dapo() -> Self {
        Self { surrogate: clipped(0.2, 0.28), beta: 0.0, ..Self::bnpo() }
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
        Self { ratio: Ratio::Sequence, surrogate: clipped(3e-4, 4e-4), beta: 0.0, ..Self::grpo() }
    }

    /// CISPO: token weights bounded by 5 (as ScaleRL has it; MiniMax-M1 gives no number), mean over all tokens of
    /// the step, no KL.
    pub fn cispo() -> Self {
        Self { surrogate: Surrogate::Cispo { max: 5.0 }, ..Self::dapo() }
    }

    /// SAPO: a smooth gate of temperature 1.0, and 1.05 for what did worse than its group; no KL.
    pub fn sapo() -> Self {
        let surrogate = Surrogate::Sapo { temperature_pos: 1.0, temperature_neg: 1.05 };
        Self { surrogate, beta: 0.0, ..Self::grpo() }
    }

    /// LUSPO: [`gspo`](Self::gspo), with every completion's loss times its length.
    pub fn luspo() -> Self {
        Self { normalization: Normalization::Sum, ..Self::gspo() }
    }

    /// VESPO with TRL's numbers: k 2 and λ 3 for what did no worse than its group, k 3 and λ 2 for the rest; mean over
    /// all tokens of the step, no KL.
    pub fn vespo() -> Self {
        let surrogate = Surrogate::Vespo { k_pos: 2.0, lambda_pos: 3.0, k_neg: 3.0, lambda_neg: 2.0 };
        Self { surrogate, ..Self::dapo() }
    }
}

fn clipped(low: f64, high: f64) -> Surrogate {
    Surrogate::Clipped { low, high, delta: None }
}
