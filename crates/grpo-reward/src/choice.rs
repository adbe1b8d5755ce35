//! The answer is the letter of an option.

use std::sync::LazyLock;

use grpo_core::{Completion, Reward};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::version::verifier_version;
use crate::{extract_answer, markup::bare, text::regex};

// A letter alone, `(B)`, `B)`, `B.` or `(B).`
static LETTER: LazyLock<Regex> =
    LazyLock::new(|| regex(r"\A(?:[(（]([A-Za-z])[)）]|([A-Za-z])[)）]?)[.。]?\z"));

/// Pays if [`extract_answer`] is the letter of the right option and nothing else.
///
/// `B`, `b`, `(B)`, `B)` and `B.` are the same letter, in the answer and in the truth, also inside
/// the emphasis or formula that [`Numeric`](crate::Numeric) accepts: `**B**`, `` `B` ``, `$B$`, `\text{B}`.
/// More than one letter is wrong, and so is a letter with words: `A or B` and `A B C D` would be paid for
/// guessing, and `not B` for the opposite. The prompt should ask for the letter alone.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::Choice;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     Choice::default().score("B", &completion)
/// };
/// assert_eq!(score("<answer>(b)</answer>"), 2.0);
/// assert_eq!(score("<answer>C</answer>"), 0.0);
/// assert_eq!(score("<answer>A or B</answer>"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// What the right letter earns.
    pub reward: f32,
}

impl Default for Choice {
    fn default() -> Self {
        Self { reward: 2.0 }
    }
}

impl<T: AsRef<str> + ?Sized> Reward<T> for Choice {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        let right = match (letter(extract_answer(&completion.text)), letter(truth.as_ref())) {
            (Some(answer), Some(truth)) => answer.eq_ignore_ascii_case(truth),
            _ => false,
        };
        if right { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

fn letter(text: &str) -> Option<&str> {
    let groups = LETTER.captures(bare(text))?;
    groups.get(1).or(groups.get(2)).map(|letter| letter.as_str())
}
