//! The answer is a number near the truth, in its unit.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use grpo_core::{Completion, Reward};
use regex::Regex;

use crate::{SettingError, extract::strip, extract_answer, numeric::NUMBER};

static QUANTITY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(r"(?s)\A{NUMBER}(?:[eE](?<exponent>[+\-\u{{2212}}]?[0-9]{{1,4}}))?(?<unit>.*)\z"))
        .expect("it is valid")
});

/// Pays where [`extract_answer`] is a number within the tolerance of the truth's, with the truth's unit.
///
/// A number is what [`Numeric`](crate::Numeric) takes for one, or such a number with an exponent (`3e8`). The
/// unit is the rest of the answer without the whitespace around it and one point at its end; a dollar in
/// front of the number is the unit `$`. Units are compared character by character: `mW` is not `MW`. Where a
/// unit has other names, list them as [synonyms](Self::synonym); nothing is converted. A missing unit is
/// wrong, and so is one that the truth doesn't have.
///
/// The tolerance is the larger one of the absolute and the relative. The relative one is a share of the
/// truth, never of the answer, so that a large answer makes no room for itself.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::Quantity;
///
/// let quantity = Quantity::new(0.0, 0.01)?.synonym("kilometers", "km");
/// let score = |text: &str| {
///     quantity.score("12.5 km", &Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop })
/// };
/// assert_eq!(score("<answer>12.6 km</answer>"), 2.0);
/// assert_eq!(score("<answer>12.5 kilometers.</answer>"), 2.0);
/// assert_eq!(score("<answer>12.7 km</answer>"), 0.0);
/// assert_eq!(score("<answer>12.5 m</answer>"), 0.0);
/// assert_eq!(score("<answer>12.5</answer>"), 0.0);
/// # Ok::<(), grpo_reward::SettingError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    /// What a right answer earns: 2.0 unless it is changed.
    pub reward: f32,
    absolute: f64,
    relative: f64,
    synonyms: BTreeMap<String, String>,
}

impl Quantity {
    /// Numbers within `absolute`, or within `relative` times the truth, are right.
    ///
    /// # Errors
    ///
    /// Where one of them is negative or not finite, or `relative` is 1 or more: 0 would always be right.
    pub fn new(absolute: f64, relative: f64) -> Result<Self, SettingError> {
        if !(absolute >= 0.0 && absolute.is_finite() && (0.0..1.0).contains(&relative)) {
            return Err(SettingError::Tolerance { absolute, relative });
        }
        Ok(Self { reward: 2.0, absolute, relative, synonyms: BTreeMap::new() })
    }

    /// Takes `name` for `unit`, in the answer and in the truth.
    #[must_use]
    pub fn synonym(mut self, name: impl Into<String>, unit: impl Into<String>) -> Self {
        self.synonyms.insert(name.into(), unit.into());
        self
    }

    fn is_right(&self, answer: &str, truth: &str) -> bool {
        let (Some((answer, unit)), Some((truth, true_unit))) = (parse(answer), parse(truth)) else {
            return false;
        };
        // What the parsed numbers and their difference may be off for being binary.
        let rounding = 4.0 * f64::EPSILON * truth.abs();
        let near = (answer - truth).abs() <= self.absolute.max(self.relative * truth.abs()) + rounding;
        near && self.canonical(unit) == self.canonical(true_unit)
    }

    fn canonical<'a>(&'a self, unit: &'a str) -> &'a str {
        self.synonyms.get(unit).map_or(unit, String::as_str)
    }
}

impl<T: AsRef<str> + ?Sized> Reward<T> for Quantity {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        if self.is_right(extract_answer(&completion.text), truth.as_ref()) { self.reward } else { 0.0 }
    }
}

/// The number and the unit.
fn parse(text: &str) -> Option<(f64, &str)> {
    let groups = QUANTITY.captures(strip(text))?;
    let group = |name| groups.name(name).map_or("", |group| group.as_str());
    let (sign, integer, fraction) = (group("sign"), group("integer"), group("fraction"));
    if integer.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = if group("exponent").is_empty() { "0" } else { group("exponent") };
    let number = format!("{sign}0{integer}.{fraction}0e{exponent}").replace(',', "").replace('\u{2212}', "-");
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite())?;
    let rest = strip(group("unit"));
    let unit = strip(rest.strip_suffix('.').unwrap_or(rest));
    // What goes on like a number is a second one: `12 13`, `1,2,3`, `1.2.3`.
    let is_number = unit.starts_with(|c: char| c.is_ascii_digit() || matches!(c, ',' | '.'));
    match (group("dollar"), unit) {
        _ if is_number => None,
        ("", unit) => Some((number, unit)),
        (dollar, "") => Some((number, dollar)),
        _ => None,
    }
}
