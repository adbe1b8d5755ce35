//! The completion repeats itself.

use std::collections::HashSet;

use grpo_core::{Completion, Reward};

use crate::version::verifier_version;
use crate::{SettingError, extract::is_space};

/// Punishes repeated runs of words (n-grams): `max_penalty · (1 − different runs / all runs)`, for runs of
/// `ngram_size` words.
///
/// The same as `get_repetition_penalty_reward(ngram_size, max_penalty)` of TRL and Open-R1: whitespace separates
/// words, case is ignored, and a text with fewer words than a run is not punished. Text in a script that has no
/// spaces between words counts as one word.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::Repetition;
///
/// let repetition = Repetition::new(2, -1.0)?;
/// let score = |text: &str| {
///     repetition.score("18", &Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop })
/// };
/// assert_eq!(score("half of it is 18"), 0.0);
/// assert_eq!(score("so so so so so"), -0.75); // "so so" four times
/// # Ok::<(), grpo_reward::SettingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repetition {
    ngram_size: usize,
    max_penalty: f32,
}

impl Repetition {
    /// The punishment for repeating runs of `ngram_size` words, down to `max_penalty`.
    ///
    /// # Errors
    ///
    /// If the runs have no words, or the penalty is positive or not finite.
    pub fn new(ngram_size: usize, max_penalty: f32) -> Result<Self, SettingError> {
        if ngram_size == 0 || !(max_penalty <= 0.0 && max_penalty.is_finite()) {
            return Err(SettingError::Repetition { ngram_size, max_penalty });
        }
        Ok(Self { ngram_size, max_penalty })
    }
}

impl<T: ?Sized> Reward<T> for Repetition {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        let text = completion.text.to_lowercase();
        let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
        let runs = words.windows(self.ngram_size);
        let all = runs.len();
        let different = runs.collect::<HashSet<_>>().len();
        if different == all { 0.0 } else { self.max_penalty * (1.0 - different as f32 / all as f32) }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
