//! The answer is the truth.

use grpo_core::{Completion, Reward};
use serde::{Deserialize, Serialize};

use crate::extract_answer;
use crate::version::verifier_version;

/// Pays if [`extract_answer`] equals the truth, character by character.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::Correctness;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     Correctness::default().score("18", &completion)
/// };
/// assert_eq!(score("<answer>\n18\n</answer>"), 2.0);
/// assert_eq!(score("<answer>\n19\n</answer>"), 0.0);
/// assert_eq!(score("<answer>\n18.0\n</answer>"), 0.0); // a case for `Numeric`
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Correctness {
    /// What a right answer earns.
    pub reward: f32,
}

impl Default for Correctness {
    fn default() -> Self {
        Self { reward: 2.0 }
    }
}

impl<T: AsRef<str> + ?Sized> Reward<T> for Correctness {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        if extract_answer(&completion.text) == truth.as_ref() { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
