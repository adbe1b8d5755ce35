//! The tags around the reasoning and the answer.

use std::borrow::Cow;

use grpo_core::{Completion, Reward};

use crate::version::verifier_version;
use crate::{SettingError, extract::strip};

/// The names of the two tags that a completion consists of.
///
/// ```
/// use grpo_reward::Layout;
///
/// let text = "<think>Half of 36.</think>\n<answer>18</answer>";
/// assert_eq!(Layout::THINK.split(text), Some(("Half of 36.", "18")));
/// assert_eq!(Layout::REASONING.split(text), None);
/// assert!(Layout::new("plan", "code").is_ok());
/// assert!(Layout::new("<plan>", "code").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    reasoning: Cow<'static, str>,
    answer: Cow<'static, str>,
}

/// The four tags of a layout.
pub(crate) struct Tags {
    pub(crate) open_reasoning: String,
    pub(crate) close_reasoning: String,
    pub(crate) open_answer: String,
    pub(crate) close_answer: String,
}

impl Layout {
    /// `<reasoning>…</reasoning><answer>…</answer>`, which [`StrictFormat`](crate::StrictFormat) and its
    /// siblings check.
    pub const REASONING: Self =
        Self { reasoning: Cow::Borrowed("reasoning"), answer: Cow::Borrowed("answer") };

    /// `<think>…</think><answer>…</answer>`, as DeepSeek-R1 writes.
    pub const THINK: Self = Self { reasoning: Cow::Borrowed("think"), answer: Cow::Borrowed("answer") };

    /// Tags with these names.
    ///
    /// # Errors
    ///
    /// If the names are equal, or one contains anything but ASCII letters, digits, `_` and `-`.
    pub fn new(reasoning: impl Into<String>, answer: impl Into<String>) -> Result<Self, SettingError> {
        let (reasoning, answer) = (reasoning.into(), answer.into());
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        if reasoning == answer || !is_name(&reasoning) || !is_name(&answer) {
            return Err(SettingError::TagNames { reasoning, answer });
        }
        Ok(Self { reasoning: Cow::Owned(reasoning), answer: Cow::Owned(answer) })
    }

    /// The reasoning and the answer, without the whitespace around them, if the text is nothing but these
    /// two, in this order: each of the four tags appears exactly once, with only whitespace outside of them.
    pub fn split<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let tags = self.tags();
        let inner = strip(text).strip_prefix(&tags.open_reasoning)?.strip_suffix(&tags.close_answer)?;
        let (reasoning, rest) = inner.split_once(&tags.close_reasoning)?;
        let answer = strip(rest).strip_prefix(&tags.open_answer)?;
        let stray = [&tags.open_reasoning, &tags.close_reasoning, &tags.open_answer, &tags.close_answer]
            .into_iter()
            .any(|tag| reasoning.contains(tag) || answer.contains(tag));
        (!stray).then(|| (strip(reasoning), strip(answer)))
    }

    pub(crate) fn tags(&self) -> Tags {
        Tags {
            open_reasoning: format!("<{}>", self.reasoning),
            close_reasoning: format!("</{}>", self.reasoning),
            open_answer: format!("<{}>", self.answer),
            close_answer: format!("</{}>", self.answer),
        }
    }
}

/// Pays if [`Layout::split`] finds a reasoning and an answer, and neither is empty.
///
/// While [`StrictFormat`](crate::StrictFormat) repeats a pattern that many scripts use, this reward leaves no
/// loophole: empty tags, tags within tags and words outside of them earn nothing. Line breaks do not matter.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::LayoutFormat;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     LayoutFormat::default().score("18", &completion)
/// };
/// assert_eq!(score("<think>Half of 36.</think>\n<answer>18</answer>"), 0.5);
/// assert_eq!(score("<think></think><answer></answer>"), 0.0);
/// assert_eq!(score("<think>Half.</think> So: <answer>18</answer>"), 0.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutFormat {
    /// The tags.
    pub layout: Layout,
    /// What the layout earns.
    pub reward: f32,
}

impl Default for LayoutFormat {
    fn default() -> Self {
        Self { layout: Layout::THINK, reward: 0.5 }
    }
}

impl<T: ?Sized> Reward<T> for LayoutFormat {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        match self.layout.split(&completion.text) {
            Some((reasoning, answer)) if !reasoning.is_empty() && !answer.is_empty() => self.reward,
            _ => 0.0,
        }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
