//! The papers as recipes: the objective, and what goes with it.

use grpo_core::{Advantage, Objective};
use grpo_reward::SoftOverlong;
use grpo_trainer::TrainerConfig;

use crate::gsm8k::GsmRubric;

/// What is minimised, by the name of its paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Recipe {
    /// The classic: mean over a completion's tokens, a KL term.
    Grpo,
    /// The same, with the mean over all tokens of the step.
    Bnpo,
    /// Clips higher, redraws groups without a signal, punishes overlong completions; no KL.
    Dapo,
    /// Divides by constants only; no KL.
    DrGrpo,
    /// One ratio for a completion; no KL.
    Gspo,
    /// Bounds the weight of a token, never its gradient; no KL.
    Cispo,
    /// A smooth gate in place of the clip; no KL.
    Sapo,
    /// GSPO times the completion's length.
    Luspo,
    /// Weights a completion by how far it is off the policy; no KL.
    Vespo,
}

impl Recipe {
    /// What it is called in a table.
    pub fn title(self) -> &'static str {
        match self {
            Self::Grpo => "GRPO, β = 0.04, ddof 0",
            Self::Bnpo => "BNPO",
            Self::Dapo => "DAPO",
            Self::DrGrpo => "Dr. GRPO",
            Self::Gspo => "GSPO",
            Self::Cispo => "CISPO",
            Self::Sapo => "SAPO",
            Self::Luspo => "LUSPO",
            Self::Vespo => "VESPO",
        }
    }

    /// The numbers of a run by this recipe, which are `base` otherwise.
    pub fn config(self, base: TrainerConfig) -> TrainerConfig {
        let objective = match self {
            Self::Grpo => Objective::grpo(),
            Self::Bnpo => Objective::bnpo(),
            Self::Dapo => Objective::dapo(),
            Self::DrGrpo => Objective::dr_grpo(base.max_completion_length),
            Self::Gspo => Objective::gspo(),
            Self::Cispo => Objective::cispo(),
            Self::Sapo => Objective::sapo(),
            Self::Luspo => Objective::luspo(),
            Self::Vespo => Objective::vespo(),
        };
        match self {
            Self::Dapo => TrainerConfig { objective, max_redraws: 3, ..base },
            Self::DrGrpo => TrainerConfig { objective, advantage: Advantage::Centered, ..base },
            _ => TrainerConfig { objective, ..base },
        }
    }

    /// The rewards of the recipe, for completions of at most `max_tokens`.
    pub fn rubric(self, base: GsmRubric, max_tokens: usize) -> GsmRubric {
        match self {
            // The last fifth of the length costs more with every token, as in the paper.
            Self::Dapo => {
                let overlong = SoftOverlong::new(max_tokens, max_tokens / 5);
                base.with("overlong", 1.0, overlong.expect("a fifth is no more than the whole"))
            }
            _ => base,
        }
    }
}
