//! The answer is an expression that reaches a number.

use grpo_core::{Completion, Reward};
use serde::{Deserialize, Serialize};

use crate::expression::{Expression, Rational};
use crate::version::verifier_version;
use crate::{extract_answer, markup::plain, number::Decimal};

/// The given numbers, and the one to reach with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountdownTruth {
    /// The numbers to use. One that is given twice can be used twice.
    pub numbers: Vec<u64>,
    /// The value that the expression must have.
    pub target: i64,
}

/// How often each given number must or may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Usage {
    /// Exactly once.
    #[default]
    All,
    /// At most once.
    Some,
}

/// Pays if [`extract_answer`] is an arithmetic expression that reaches the target with the given numbers.
///
/// An expression consists of whole numbers, `+`, `-`, `*`, `/`, parentheses and whitespace, with the usual
/// precedence, and is computed exactly: `1/3*3` is 1, `7/2` is not 3. Operators may be written `−` or with
/// a dash, `×`, `·`, `÷`, `\times`, `\cdot`, `\ast`, `\div`, and the whole expression may stand in the emphasis
/// or formula that [`Numeric`](crate::Numeric) accepts. Signs in front of a number, other operators, parentheses
/// nested deeper than 100 and division by 0 are wrong. An `= target` at the end is tolerated; an `=` followed by
/// anything else is a contradiction, and wrong.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::{Countdown, CountdownTruth};
///
/// let truth = CountdownTruth { numbers: vec![3, 5, 7], target: 56 };
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     Countdown::default().score(&truth, &completion)
/// };
/// assert_eq!(score("<answer>(3 + 5) × 7 = 56</answer>"), 2.0);
/// assert_eq!(score("<answer>3 + 5 * 7</answer>"), 0.0); // 38
/// assert_eq!(score("<answer>7 * (5 + 5 - 3 + 1)</answer>"), 0.0); // other numbers
/// assert_eq!(score("<answer>56</answer>"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Countdown {
    /// How often each number must or may be used.
    pub usage: Usage,
    /// What a right expression earns.
    pub reward: f32,
}

impl Default for Countdown {
    fn default() -> Self {
        Self { usage: Usage::All, reward: 2.0 }
    }
}

impl Reward<CountdownTruth> for Countdown {
    fn score(&self, truth: &CountdownTruth, completion: &Completion) -> f32 {
        let right = reaches(extract_answer(&completion.text), truth.target)
            .is_some_and(|used| self.allows(&used, &truth.numbers));
        if right { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

impl Countdown {
    fn allows(&self, used: &[u64], given: &[u64]) -> bool {
        if used.len() > given.len() {
            return false; // before looking at each of them: there may be a million
        }
        let mut left = given.to_vec();
        let all_given = used.iter().all(|number| match left.iter().position(|other| other == number) {
            Some(index) => {
                left.swap_remove(index);
                true
            }
            None => false,
        });
        all_given && (left.is_empty() || self.usage == Usage::Some)
    }
}

/// The numbers of the expression, if it reaches the target.
fn reaches(text: &str, target: i64) -> Option<Vec<u64>> {
    let text = plain(text);
    let (text, stated) = match text.split_once('=') {
        Some((text, stated)) => (text, Some(stated)),
        None => (text.as_str(), None),
    };
    if stated.is_some_and(|stated| Decimal::parse(stated) != Decimal::parse(&target.to_string())) {
        return None;
    }
    let text = plain(text);
    let expression = Expression::evaluate(text.strip_suffix('.').unwrap_or(&text))?;
    (expression.value == Rational::whole(target)).then_some(expression.numbers)
}
