//! The papers whose recipes a run can follow, by their names on the command line.

use grpo_core::Recipe;

/// A paper, or the option of TRL that stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Paper {
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
    /// Bounds the ratio of a token, never its gradient; redraws and punishes as dapo; no KL.
    Cispo,
    /// A smooth gate in place of the clip; no KL.
    Sapo,
    /// GSPO times the completion's length.
    Luspo,
    /// A factor of each completion falls with its distance from the policy; no KL.
    Vespo,
    /// Compares every reward by itself before they are added up.
    Gdpo,
}

impl Paper {
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
            Self::Gdpo => "GDPO",
        }
    }

    /// All that it prescribes, for completions of at most so many tokens.
    pub fn recipe(self, max_completion_length: usize) -> Recipe {
        match self {
            Self::Grpo => Recipe::grpo(),
            Self::Bnpo => Recipe::bnpo(),
            Self::Dapo => Recipe::dapo(max_completion_length),
            Self::DrGrpo => Recipe::dr_grpo(max_completion_length),
            Self::Gspo => Recipe::gspo(),
            Self::Cispo => Recipe::cispo(max_completion_length),
            Self::Sapo => Recipe::sapo(),
            Self::Luspo => Recipe::luspo(),
            Self::Vespo => Recipe::vespo(),
            Self::Gdpo => Recipe::gdpo(),
        }
    }
}
