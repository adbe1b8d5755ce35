//! The last number of a completion, whatever its format.

use std::sync::LazyLock;

use grpo_core::{Completion, Reward};
use regex::Regex;

use crate::number::Decimal;
use crate::text::regex;
use crate::version::verifier_version;

/// Pays if the last `\boxed{…}`, or without one the last number in the text, is the truth.
///
/// It looks for an answer in any format, so it measures what a model can do apart from the format. It is no reward to train on:
/// a model is paid for a number that it happens to mention last. [`Numeric`](crate::Numeric) wants the answer in its tags.
///
/// Numbers are compared as exact decimals, with or without separators between groups of three digits. A hyphen is a sign if no
/// number, letter or bracket is before it: the last number of `5-3` is 3. A percent sign or unit after a number is ignored.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::LastNumber;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     LastNumber::default().score("1200", &completion)
/// };
/// assert_eq!(score("Half of 2,400 is $1,200.00 a month."), 1.0);
/// assert_eq!(score("so \\boxed{1200}, which is 100 * 12"), 1.0);
/// assert_eq!(score("1200 is half of 2400"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastNumber {
    /// What a right answer earns.
    pub reward: f32,
}

impl Default for LastNumber {
    fn default() -> Self {
        Self { reward: 1.0 }
    }
}

impl LastNumber {
    /// The number that a text ends with, in normal form: `1200` for `$1,200.00`. None if it has no number.
    ///
    /// ```
    /// use grpo_reward::LastNumber;
    ///
    /// assert_eq!(LastNumber::of("It is −$1,200.50.").as_deref(), Some("-1200.5"));
    /// assert_eq!(LastNumber::of("I don't know."), None);
    /// ```
    pub fn of(text: &str) -> Option<String> {
        let boxed = last_boxed(text).and_then(last_number);
        boxed.or_else(|| last_number(text)).map(|number| number.to_string())
    }
}

/// What is between the braces of the last `\boxed{…}`, which may have braces inside.
fn last_boxed(text: &str) -> Option<&str> {
    const BOXED: &str = "\\boxed{";
    let inside = &text[text.rfind(BOXED)? + BOXED.len()..];
    let mut depth = 1;
    let end = inside.char_indices().find_map(|(at, c)| {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        (depth == 0).then_some(at)
    })?;
    Some(&inside[..end])
}

fn last_number(text: &str) -> Option<Decimal> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?x)(?<sign>[-\u{2212}\u{2010}-\u{2014}])?\\?\$?
            (?<digits>(?:[0-9]{1,3}(?:(?:,|\{,\}|\\,|\u{202f}|\u{a0})[0-9]{3})+\b|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)",
        )
    });
    let last = NUMBER.captures_iter(text).last()?;
    let digits = &last["digits"];
    let whole: String = digits.chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    let is_negative = last.name("sign").is_some_and(|sign| {
        let before = text[..sign.start()].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '}' | '.'))
    });
    Decimal::parse(&format!("{}{whole}", if is_negative { "-" } else { "" }))
}

impl<T: AsRef<str> + ?Sized> Reward<T> for LastNumber {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        let truth = Decimal::parse(truth.as_ref()).map(|number| number.to_string());
        let right = truth.is_some() && Self::of(&completion.text) == truth;
        if right { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
