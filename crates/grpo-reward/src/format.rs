//! The completion has the prescribed layout.

use std::sync::LazyLock;

use crate::version::verifier_version;
use grpo_core::{Completion, Reward};
use regex::Regex;
use serde::{Deserialize, Serialize};

// `\n?\z` is Python's `$`, which also matches before a final line break.
static STRICT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)\A<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n\n?\z").expect("it is valid")
});

// The brackets hold Python's `\s`: Unicode's white space and the four ASCII separators.
static SOFT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)\A<reasoning>.*?</reasoning>[\s\x1c-\x1f]*<answer>.*?</answer>").expect("it is valid")
});

const TAGS: [&str; 4] = ["<reasoning>", "</reasoning>", "<answer>", "</answer>"];

/// Pays for exactly the prescribed layout: every tag on its own line, nothing before the first, a line
/// break after the last.
///
/// The same as Python's `re.match(pattern, text, re.DOTALL)` with the pattern
/// `^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n$`. Three consequences are easy to miss: the
/// final line break is required, a second one is tolerated (Python's `$`), and anything may stand between the
/// tags, even more tags.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::StrictFormat;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     StrictFormat::default().score("18", &completion)
/// };
/// assert_eq!(score("<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n"), 0.5);
/// assert_eq!(score("<reasoning>Half.</reasoning>\n<answer>18</answer>\n"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StrictFormat {
    /// What the layout earns.
    pub reward: f32,
}

/// Pays for the tags in order from the start of the text, regardless of line breaks and of what comes
/// after.
///
/// The same as Python's `re.match(pattern, text, re.DOTALL)` with the pattern
/// `<reasoning>.*?</reasoning>\s*<answer>.*?</answer>`.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::SoftFormat;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     SoftFormat::default().score("18", &completion)
/// };
/// assert_eq!(score("<reasoning>Half.</reasoning> <answer>18</answer>"), 0.5);
/// assert_eq!(score("<answer>18</answer> <reasoning>Half.</reasoning>"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftFormat {
    /// What the layout earns.
    pub reward: f32,
}

/// Pays a quarter for each of the four tags that appears exactly once, in any order.
///
/// A model that has never seen the layout will not produce all of it by chance, so the other format rewards
/// give every completion the same 0, and the model learns nothing. Partial credit gives it a slope to climb. A
/// repeated tag earns nothing; otherwise, writing tags would be the easiest way to be paid.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::TagCount;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     TagCount::default().score("18", &completion)
/// };
/// assert_eq!(score("<reasoning>Half.</reasoning><answer>18</answer>"), 0.5);
/// assert_eq!(score("Half. <answer>18</answer>"), 0.25);
/// assert_eq!(score("<answer><answer>18"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TagCount {
    /// What all four tags together earn.
    pub reward: f32,
}

impl Default for StrictFormat {
    fn default() -> Self {
        Self { reward: 0.5 }
    }
}

impl Default for SoftFormat {
    fn default() -> Self {
        Self { reward: 0.5 }
    }
}

impl Default for TagCount {
    fn default() -> Self {
        Self { reward: 0.5 }
    }
}

impl<T: ?Sized> Reward<T> for StrictFormat {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        if STRICT.is_match(&completion.text) { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

impl<T: ?Sized> Reward<T> for SoftFormat {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        if SOFT.is_match(&completion.text) { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

impl<T: ?Sized> Reward<T> for TagCount {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        let once = TAGS.iter().filter(|tag| completion.text.matches(**tag).count() == 1).count();
        self.reward * once as f32 / TAGS.len() as f32
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
