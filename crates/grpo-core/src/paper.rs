//! The papers with recipes, by name.

use crate::Recipe;

/// A paper, or the TRL option for a method without one. Files and command lines refer to it by its [`name`](Self::name).
///
/// ```
/// use grpo_core::{Paper, Recipe};
///
/// assert_eq!(Paper::named("dr-grpo").map(|paper| paper.recipe(256)), Some(Recipe::dr_grpo(256)));
/// assert_eq!(Paper::named("ppo"), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Paper {
    /// [`Recipe::grpo`].
    #[default]
    Grpo,
    /// [`Recipe::bnpo`].
    Bnpo,
    /// [`Recipe::dapo`].
    Dapo,
    /// [`Recipe::dr_grpo`].
    DrGrpo,
    /// [`Recipe::gspo`].
    Gspo,
    /// [`Recipe::cispo`].
    Cispo,
    /// [`Recipe::sapo`].
    Sapo,
    /// [`Recipe::luspo`].
    Luspo,
    /// [`Recipe::vespo`].
    Vespo,
    /// [`Recipe::gdpo`].
    Gdpo,
}

impl Paper {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Grpo,
        Self::Bnpo,
        Self::Dapo,
        Self::DrGrpo,
        Self::Gspo,
        Self::Cispo,
        Self::Sapo,
        Self::Luspo,
        Self::Vespo,
        Self::Gdpo,
    ];

    /// The paper of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|paper| paper.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpo => "grpo",
            Self::Bnpo => "bnpo",
            Self::Dapo => "dapo",
            Self::DrGrpo => "dr-grpo",
            Self::Gspo => "gspo",
            Self::Cispo => "cispo",
            Self::Sapo => "sapo",
            Self::Luspo => "luspo",
            Self::Vespo => "vespo",
            Self::Gdpo => "gdpo",
        }
    }

    /// A one-line summary of what it prescribes.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Grpo => "the classic: mean over the tokens of a completion, KL term",
            Self::Bnpo => "the classic, with the mean over all tokens of the step",
            Self::Dapo => {
                "clips higher, redraws groups with one outcome, penalizes overlong completions; no KL term"
            }
            Self::DrGrpo => "divides only by constants; no KL term",
            Self::Gspo => "one ratio per completion; no KL term",
            Self::Cispo => {
                "bounds a token's ratio, never its gradient; redraws and penalizes length like dapo; no KL term"
            }
            Self::Sapo => "a smooth gate instead of the clip; no KL term",
            Self::Luspo => "gspo, with every completion's loss multiplied by its length",
            Self::Vespo => "a factor per completion that falls with its distance from the policy; no KL term",
            Self::Gdpo => "standardizes each reward separately before adding them up",
        }
    }

    /// Its recipe, for completions of at most `max_completion_length` tokens.
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
