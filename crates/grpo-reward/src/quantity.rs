//! The answer is a number near the truth, in its unit.

use std::collections::BTreeMap;

use grpo_core::{Completion, Reward};

use crate::measure::{parse, unit_form};
use crate::version::verifier_version;
use crate::{SettingError, extract_answer};

/// Pays if [`extract_answer`] is a number within the tolerance of the truth's, with the truth's unit.
///
/// A number is what [`Numeric`](crate::Numeric) accepts as one, with its markup; such a number with a power of
/// ten, `3e8` or `3 × 10^8`; or a fraction. A fraction has whole numbers above and below its bar and may
/// follow a whole number: `1/2`, `½` and `\frac{1}{2}` are 0.5, `1 1/2` and `1½` are 1.5. So `1.05/2` is not a
/// number: it is a division that is still to be done. `/0` is wrong, too. A number followed by an operator or
/// by more digits is not one number, in the answer or in the truth: `10–20`, `3:30`, `1/2/2024`, `5 ± 1`,
/// `18²`, `3 × 4`.
///
/// The unit is the rest of the answer without the whitespace around it and one period at its end; a dollar sign
/// before the number is the unit `$`. Units are compared character by character: `mW` is not `MW`.
/// Only what looks the same is the same: Unicode's compatible characters (the ohm sign and omega, the micro
/// sign and mu, `℃` and `°C`), powers (`m²`, `m^2`, `m^{2}`, `m2`), dots and dashes of any kind, and text
/// in LaTeX's `\text` or in emphasis. If a unit has other names, list them as
/// [synonyms](Self::synonym); nothing is converted. A missing unit is wrong, and so is a unit that the truth
/// doesn't have.
///
/// The tolerance is the larger of the absolute and the relative one. The relative tolerance is a share of the
/// truth, never of the answer, so that a large answer cannot widen its own tolerance.
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
    /// What a right answer earns: 2.0 by default.
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
    /// If one of them is negative or not finite, or `relative` is 1 or more: 0 would always be right.
    pub fn new(absolute: f64, relative: f64) -> Result<Self, SettingError> {
        if !(absolute >= 0.0 && absolute.is_finite() && (0.0..1.0).contains(&relative)) {
            return Err(SettingError::Tolerance { absolute, relative });
        }
        Ok(Self { reward: 2.0, absolute, relative, synonyms: BTreeMap::new() })
    }

    /// Reads `name` as `unit`, in the answer and in the truth.
    #[must_use]
    pub fn synonym(mut self, name: impl Into<String>, unit: impl Into<String>) -> Self {
        self.synonyms.insert(unit_form(&name.into()), unit_form(&unit.into()));
        self
    }

    fn is_right(&self, answer: &str, truth: &str) -> bool {
        let (Some((answer, unit)), Some((truth, true_unit))) = (parse(answer), parse(truth)) else {
            return false;
        };
        // The binary rounding error of the parsed numbers and their difference.
        let rounding = 4.0 * f64::EPSILON * truth.abs();
        let near = (answer - truth).abs() <= self.absolute.max(self.relative * truth.abs()) + rounding;
        near && self.name(&unit) == self.name(&true_unit)
    }

    fn name<'a>(&'a self, unit: &'a str) -> &'a str {
        self.synonyms.get(unit).map_or(unit, String::as_str)
    }
}

impl<T: AsRef<str> + ?Sized> Reward<T> for Quantity {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        if self.is_right(extract_answer(&completion.text), truth.as_ref()) { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
