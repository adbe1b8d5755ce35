//! The text matches a regular expression, or does not.

use grpo_core::{Completion, Reward};
use regex::Regex;

use crate::SettingError;
use crate::version::verifier_version;

/// Pays if a regular expression is found in the text, or if it is not.
///
/// The whole text is searched: `^` and `$` are its ends unless the pattern begins with `(?m)`. The syntax is
/// that of the crate `regex`, which takes time proportional to the text whatever the pattern is, and therefore
/// has no look-around.
///
/// A pattern that must not match also pays for an empty completion: give such a part a
/// [gate](crate::Rubric::gate).
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::Pattern;
///
/// let boxed = Pattern::must_match(r"\\boxed\{[^{}]+\}")?;
/// let sure = Pattern::must_not_match(r"(?i)\b(maybe|perhaps)\b")?;
/// let score = |pattern: &Pattern, text: &str| {
///     pattern.score("18", &Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop })
/// };
/// assert_eq!(score(&boxed, r"So \boxed{18}."), 0.5);
/// assert_eq!(score(&boxed, r"So \boxed{}."), 0.0);
/// assert_eq!(score(&sure, "It is 18."), 0.5);
/// assert_eq!(score(&sure, "Maybe 18."), 0.0);
/// # Ok::<(), grpo_reward::SettingError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pattern {
    /// What the right text earns: 0.5 by default.
    pub reward: f32,
    regex: Regex,
    wanted: bool,
}

impl Pattern {
    /// Pays if `pattern` is found.
    ///
    /// # Errors
    ///
    /// If the pattern is not a regular expression, or is too large.
    pub fn must_match(pattern: &str) -> Result<Self, SettingError> {
        Self::new(pattern, true)
    }

    /// Pays if `pattern` is not found.
    ///
    /// # Errors
    ///
    /// If the pattern is not a regular expression, or is too large.
    pub fn must_not_match(pattern: &str) -> Result<Self, SettingError> {
        Self::new(pattern, false)
    }

    fn new(pattern: &str, wanted: bool) -> Result<Self, SettingError> {
        let regex = Regex::new(pattern)
            .map_err(|e| SettingError::Pattern { pattern: pattern.to_owned(), reason: e.to_string() })?;
        Ok(Self { reward: 0.5, regex, wanted })
    }
}

impl<T: ?Sized> Reward<T> for Pattern {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        if self.regex.is_match(&completion.text) == self.wanted { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
