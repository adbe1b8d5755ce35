//! The papers' methods as combinations of choices.

use crate::{Advantage, Aggregation, Ddof, Normalization, Objective, Ratio, Surrogate};

/// What a paper prescribes for a GRPO run: all of its choices, in plain numbers.
///
/// Learning rates, batch sizes and group sizes are not included: they depend on the model and the hardware. To change one of
/// the choices:
///
/// ```
/// use grpo_core::{Advantage, Recipe};
///
/// let recipe = Recipe { advantage: Advantage::Centered, ..Recipe::dapo(20480) };
/// assert_eq!((recipe.max_redraws, recipe.soft_overlong_cache), (3, Some(4096)));
/// ```
///
/// A constructor takes the maximum completion length, in tokens, if the paper has a number that depends on it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Recipe {
    /// How log-probabilities and advantages become the loss.
    pub objective: Objective,
    /// How rewards become advantages (TRL's `scale_rewards`).
    pub advantage: Advantage,
    /// How the rewards of a completion are combined (TRL's `multi_objective_aggregation`).
    pub aggregation: Aggregation,
    /// Dynamic sampling (DAPO, section 3.2; not in TRL): how many times groups whose completions all have the same
    /// outcome are replaced with groups for other problems; 0 is never.
    pub max_redraws: usize,
    /// Soft overlong punishment (DAPO, eq. 13; TRL's `soft_punish_cache` of `get_soft_overlong_punishment`): the number of
    /// tokens before the maximum completion length over which length is penalized. `None` is no penalty.
    pub soft_overlong_cache: Option<usize>,
    /// Overlong filtering (DAPO, section 3.4; TRL's `mask_truncated_completions`): completions cut off at the maximum
    /// completion length are excluded from the loss.
    pub mask_truncated_completions: bool,
}

impl Default for Recipe {
    /// [`Recipe::grpo`].
    fn default() -> Self {
        Self::grpo()
    }
}

impl Recipe {
    /// GRPO (DeepSeekMath, arXiv 2402.03300): a ratio per token, clipped to 1 ± 0.2 as is usual in PPO, a KL term with `beta`
    /// 0.04, and the mean over the tokens of a completion, then over completions.
    ///
    /// Not included: iterative GRPO (section 4.1.4), which retrains the reward model and replaces the reference between
    /// iterations.
    pub fn grpo() -> Self {
        Self {
            objective: Objective::default(),
            advantage: Advantage::default(),
            aggregation: Aggregation::default(),
            max_redraws: 0,
            soft_overlong_cache: None,
            mask_truncated_completions: false,
        }
    }

    /// [`grpo`](Self::grpo) with the mean over all tokens of the step. Not from a paper: TRL's `loss_type="bnpo"`.
    pub fn bnpo() -> Self {
        Self::with_objective(Objective { normalization: Normalization::Token, ..Objective::default() })
    }

    /// DAPO (arXiv 2503.14476): mean over all tokens of the step, a higher clipping bound above (0.28) than below (0.2), no
    /// KL, dynamic sampling, and soft overlong punishment over the last fifth of `max_completion_length` (4096 of 20480
    /// tokens in the paper).
    ///
    /// The paper redraws until the batch is full; here `max_redraws` is 3. Not included: overlong filtering, which the
    /// authors' best run omits because it overlaps with the punishment (README of verl's `recipe/dapo`).
    pub fn dapo(max_completion_length: usize) -> Self {
        let objective = Objective {
            surrogate: clipped(0.2, 0.28),
            beta: 0.0,
            normalization: Normalization::Token,
            ..Objective::default()
        };
        Self {
            max_redraws: 3,
            soft_overlong_cache: Some(max_completion_length / 5),
            ..Self::with_objective(objective)
        }
    }

    /// Dr. GRPO (arXiv 2503.20783): advantages without division by the standard deviation, division by
    /// `max_completion_length` instead of the completion's length, no KL.
    pub fn dr_grpo(max_completion_length: usize) -> Self {
        let normalization = Normalization::MaxLength(max_completion_length);
        Self {
            advantage: Advantage::Centered,
            ..Self::with_objective(Objective { beta: 0.0, normalization, ..Objective::default() })
        }
    }

    /// GSPO (arXiv 2507.18071): one ratio per completion. It stays much closer to 1 than a token's, so the trust region
    /// is small (3e-4 below, 4e-4 above, section 5.1); no KL.
    ///
    /// Not included: GSPO-token (section 4.3), which differs only where the tokens of a completion have different advantages.
    pub fn gspo() -> Self {
        Self::with_objective(Objective {
            ratio: Ratio::Sequence,
            surrogate: clipped(3e-4, 4e-4),
            beta: 0.0,
            ..Objective::default()
        })
    }

    /// CISPO (MiniMax-M1, arXiv 2506.13585): the factor of a token's log-probability is its ratio, at most 5; mean over
    /// all tokens of the step, no KL. Dynamic sampling and soft overlong punishment are [`dapo`](Self::dapo)'s, as in
    /// section 3.1.
    ///
    /// MiniMax-M1 gives no number for the bound; 5 is ScaleRL's (arXiv 2510.13786). Not included: stopping completions that
    /// repeat themselves during sampling.
    pub fn cispo(max_completion_length: usize) -> Self {
        let dapo = Self::dapo(max_completion_length);
        Self { objective: Objective { surrogate: Surrogate::Cispo { max: 5.0 }, ..dapo.objective }, ..dapo }
    }

    /// SAPO (arXiv 2511.20347): a smooth gate with temperature 1.0, or 1.05 for completions worse than their group; no KL.
    pub fn sapo() -> Self {
        let surrogate = Surrogate::Sapo { temperature_pos: 1.0, temperature_neg: 1.05 };
        Self::with_objective(Objective { surrogate, beta: 0.0, ..Objective::default() })
    }

    /// LUSPO (arXiv 2602.05261): [`gspo`](Self::gspo), with every completion's loss multiplied by its length.
    pub fn luspo() -> Self {
        Self::with_objective(Objective { normalization: Normalization::Sum, ..Self::gspo().objective })
    }

    /// VESPO (arXiv 2602.10693), with TRL's numbers: k 2 and λ 3 for completions no worse than their group, k 3 and λ 2 for
    /// the rest; mean over all tokens of the step, no KL.
    pub fn vespo() -> Self {
        let surrogate = Surrogate::Vespo { k_pos: 2.0, lambda_pos: 3.0, k_neg: 3.0, lambda_neg: 2.0 };
        let normalization = Normalization::Token;
        Self::with_objective(Objective { surrogate, beta: 0.0, normalization, ..Objective::default() })
    }

    /// GDPO (arXiv 2601.05242; TRL's `multi_objective_aggregation="normalize_then_sum"`): each reward is standardized
    /// separately within the group, and their weighted sum is divided by its standard deviation over the step. The loss is
    /// [`grpo`](Self::grpo)'s.
    ///
    /// Not included: rewards that are paid only if another one is.
    pub fn gdpo() -> Self {
        Self {
            advantage: Advantage::BatchScaled { ddof: Ddof::Sample },
            aggregation: Aggregation::NormalizeThenSum,
            ..Self::grpo()
        }
    }

    fn with_objective(objective: Objective) -> Self {
        Self { objective, ..Self::grpo() }
    }
}

fn clipped(low: f64, high: f64) -> Surrogate {
    Surrogate::Clipped { low, high, delta: None }
}
