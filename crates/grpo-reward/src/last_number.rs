//! The last number of a completion, whatever its format.

use std::sync::LazyLock;

use grpo_core::{Completion, Reward};
use regex::{Captures, Regex};
use serde::{Deserialize, Serialize};

use crate::extract::boxed_before;
use crate::number::Decimal;
use crate::text::regex;
use crate::version::verifier_version;

/// Pays if the last `\boxed{…}`, or without one the last number in the text, is the truth.
///
/// It looks for an answer in any format, so it measures what a model can do apart from the format. It is no reward to train on:
/// a model is paid for a number that it happens to mention last. [`Numeric`](crate::Numeric) wants the answer in its tags.
///
/// Numbers are compared as exact decimals, with or without separators between groups of three digits. Digits after a letter or
/// `^`, and indices such as that of `x_1`, do not count. A hyphen is a sign if it stands at the beginning or after white space, an
/// opening bracket, a quotation mark or one of `= : < > | ~`; the last number of `5-3` is 3. A percent sign or unit after a number
/// is ignored; fractions and powers of ten are not read.
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
        let text = uniform(text);
        let boxed = boxed_before(&text, text.len()).and_then(|inside| last_number(&text[inside]));
        boxed.or_else(|| last_number(&text)).map(|number| number.to_string())
    }

    /// A truth in normal form; none if it is not one number.
    pub fn of_truth(truth: &str) -> Option<String> {
        Decimal::parse(truth).map(|number| number.to_string())
    }
}

/// The text with one form of each separator, sign and dollar.
fn uniform(text: &str) -> String {
    static FORMS: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\{,\}|,\\!|\\,|\\\$|[\u{a0}\u{2009}’\u{2010}-\u{2014}\u{2212}]"));
    let form = |found: &Captures<'_>| match &found[0] {
        "{,}" | ",\\!" => ",",
        "\\$" => "$",
        "’" => "'",
        "\\," | "\u{a0}" | "\u{2009}" => "\u{202f}",
        _ => "-",
    };
    FORMS.replace_all(text, form).into_owned()
}

fn last_number(text: &str) -> Option<Decimal> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?x)(?<sign>-?)[$€£¥]?(?:
            (?<grouped>[0-9]{1,3}(?:(?:,[0-9]{3})+|(?:'[0-9]{3})+|(?:\u{202f}[0-9]{3})+)(?:\.[0-9]+)?)(?:[^0-9]|\z)|
            (?<plain>[0-9]+(?:\.[0-9]+)?|\.[0-9]+))",
        )
    });
    NUMBER.captures_iter(text).filter_map(|found| number(text, &found)).last()
}

/// The number that has been found, unless it is a part of something else.
fn number(text: &str, found: &Captures<'_>) -> Option<Decimal> {
    let (start, digits) = (found.get(0)?.start(), found.name("grouped").or(found.name("plain"))?);
    let before = &text[..start];
    if start == digits.start() && continues(before) {
        return None;
    }
    let whole: String = digits.as_str().chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    // The last of several full stops begins no fraction.
    let whole = if before.ends_with('.') { whole.trim_start_matches('.') } else { &whole };
    let sign = if &found["sign"] == "-" && begins_number(before) { "-" } else { "" };
    Decimal::parse(&format!("{sign}{whole}"))
}

/// Whether digits after this text are part of a name, an index or an exponent.
fn continues(before: &str) -> bool {
    let base = before.strip_suffix('{').unwrap_or(before);
    let index_of = base.strip_suffix('_').and_then(|name| name.chars().next_back());
    before.ends_with(char::is_alphabetic)
        || base.ends_with('^')
        || index_of.is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | '}'))
}

/// Whether a hyphen after this text is a sign.
fn begins_number(before: &str) -> bool {
    const OPENING: &str = "([{\"'`=:<>|~“‘";
    let last = before.trim_end_matches(['*', '_', '$', '€', '£', '¥']).chars().next_back();
    last.is_none_or(|c| c.is_whitespace() || OPENING.contains(c))
}

impl<T: AsRef<str> + ?Sized> Reward<T> for LastNumber {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        let truth = Self::of_truth(truth.as_ref());
        let right = truth.is_some() && Self::of(&completion.text) == truth;
        if right { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
