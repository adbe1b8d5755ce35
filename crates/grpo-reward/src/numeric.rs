//! The answer is the same number as the truth.

use grpo_core::{Completion, Reward};
use serde::{Deserialize, Serialize};

use crate::version::verifier_version;
use crate::{extract_answer, number::Decimal};

/// Pays if [`extract_answer`] is the same number as the truth.
///
/// Both are read as exact decimals, never as floats. A number is an optional sign, an optional `$`, digits
/// with or without separators between groups of three, and an optional point with or without digits after
/// it. So `18`, `18.`, `18.0`, `18.0.`, `+18` and `$18` are equal, and so are `1,200` and `1200`, `-$5` and
/// `−5`.
///
/// The markup of a number makes no difference:
///
/// * emphasis and formulas around all of it, as in `**18**`, `_18_`, `` `18` ``, `$18$`, `\(18\)`, `\text{18}`,
///   `\boxed{18}`, with a period inside or after; crossed out, `~~18~~`, it is not a number;
/// * any hyphen, dash or minus sign as the sign;
/// * `,`, `'`, `{,}`, `\,` or a non-breaking space (U+00A0, U+2009, U+202F) as the separator, the same one
///   throughout; `\$` for the dollar sign;
/// * fullwidth digits and signs, and `。` for a final period.
///
/// Anything else is not a number, and wrong: `18 apples`, `1,2,3`, `3,5`, `17–19`, `1e3`, `36/2`, `½`,
/// `18%`. The answer must be the number alone. If this reward guessed which of several numbers is meant, a model
/// could learn to list several and be paid for all of them. A fraction is still to be computed;
/// [`Quantity`](crate::Quantity) accepts it. If the truth itself is not a number, every completion is wrong;
/// use [`Correctness`](crate::Correctness) to compare text.
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

    fn version(&self) -> String {
        verifier_version(self)
    }
}
