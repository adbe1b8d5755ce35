//! The answer is the same number as the truth.

use std::sync::LazyLock;

use grpo_core::{Completion, Reward};
use regex::Regex;

use crate::{extract::strip, extract_answer};

/// A sign, a dollar, digits (in groups of three, or plain) and a fraction, each of which may be missing.
pub(crate) const NUMBER: &str = concat!(
    r"(?<sign>[+\-\u{2212}]?)(?<dollar>\$?)",
    r"(?<integer>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.(?<fraction>[0-9]*))?"
);

static ONLY_NUMBER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!(r"\A{NUMBER}\z")).expect("it is valid"));

/// Pays where [`extract_answer`] is the same number as the truth.
///
/// Both are read as exact decimals, never as floats. A number is an optional sign (`+`, `-` or the minus sign
/// U+2212), an optional `$`, digits with or without commas between groups of three, and an optional point
/// with or without digits behind it. So `18`, `18.`, `18.0`, `+18` and `$18` are equal, and so are `1,200`
/// and `1200`, `-$5` and `−5`.
///
/// Anything else is not a number, and wrong: `18 apples`, `1,2,3`, `1e3`, `36/2`, `18%`. The answer is to be
/// the number alone, and a guess at which of several numbers is meant could be learned as a way to be paid
/// for all of them. Where the truth itself is no number, every completion is wrong; compare text with
/// [`Correctness`](crate::Correctness).
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::Numeric;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     Numeric::default().score("1200", &completion)
/// };
/// assert_eq!(score("<answer>$1,200.00</answer>"), 2.0);
/// assert_eq!(score("<answer>1201</answer>"), 0.0);
/// assert_eq!(score("<answer>1200 dollars</answer>"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numeric {
    /// What a right answer earns.
    pub reward: f32,
}

impl Default for Numeric {
    fn default() -> Self {
        Self { reward: 2.0 }
    }
}

impl<T: AsRef<str> + ?Sized> Reward<T> for Numeric {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        let right = match (Decimal::parse(extract_answer(&completion.text)), Decimal::parse(truth.as_ref())) {
            (Some(answer), Some(truth)) => answer == truth,
            _ => false,
        };
        if right { self.reward } else { 0.0 }
    }
}

/// A decimal number of any size in its one normal form, so that equal numbers are equal values.
#[derive(Debug, PartialEq)]
pub(crate) struct Decimal {
    /// Never of zero.
    negative: bool,
    /// Without leading zeros; empty below 1.
    integer: String,
    /// Without trailing zeros.
    fraction: String,
}

impl Decimal {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let groups = ONLY_NUMBER.captures(strip(text))?;
        let group = |name| groups.name(name).map_or("", |group| group.as_str());
        let (sign, integer, fraction) = (group("sign"), group("integer"), group("fraction"));
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        let integer = integer.replace(',', "").trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let zero = integer.is_empty() && fraction.is_empty();
        Some(Self { negative: !zero && matches!(sign, "-" | "\u{2212}"), integer, fraction })
    }
}
