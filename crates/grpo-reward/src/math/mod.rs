//! The answer is mathematically the truth.

use grpo_core::{Completion, Reward};
use serde::{Deserialize, Serialize};

use crate::version::verifier_version;

mod atom;
mod compare;
mod evaluate;
mod expression;
mod extract;
mod number;
mod parse;
mod set;
mod symbols;
mod token;

use evaluate::Work;
use expression::Expression;
use number::Number;
use token::Token;

/// Pays if the answer of the completion is mathematically equal to the truth.
///
/// The answer is, in this order: what [`extract_answer`](crate::extract_answer) finds between `<answer>` tags; in it or in the
/// whole text, the last `\boxed{…}` or what follows "the answer is" behind it; the last formula or, without answer tags, the
/// last number, whichever comes later; the whole text. `\boxed{3} and \boxed{4}` is the list `3, 4`. A truth is an answer alone,
/// `\frac{3}{4}`, or a solution that ends with one.
///
/// What is equal:
///
/// * numbers of the same value: `0.75`, `3/4`, `\frac34`, `75\%`; `1{,}200`; `1\frac12`; `3e8`, `3\times10^8`; `\sqrt{72}`,
///   `6\sqrt2`; `0.\overline{3}`, `1/3`. Rational ones are compared
///   by their residues modulo a 61-bit prime, others to twelve digits. A truth with a decimal
///   point, or one that would need more than six decimals, may be rounded to six: `\sqrt7`, `2.645751`;
/// * expressions that have the same values whatever those of their variables are: `(x-1)(x+1)`, `x^2-1`;
/// * lists and sets with the same items in any order, tuples with the same items in order; `1 \pm \sqrt2` is a list of two;
/// * sets of the same real numbers: `(-\infty,2]`, `x \le 2`, `2 \ge x`; unions, intersections, differences;
/// * matrices with the same entries, and sums and products of matrices;
/// * equations and inequalities that are multiples of each other: `y = 2x`, `2y - 4x = 0`. Where the truth gives the value of a
///   variable or its limit, the answer must do so, too: `2x = 6` is not `x = 3`;
/// * `x = 3` and `3`; `f(x) = x^2` and `x^2`; `a = 1, b = 2` and `1, 2`, in this order;
/// * the same words, `\text{Monday}`, in upper or lower case; single letters in the same case.
///
/// Units are no part of the number, but two different ones that are known are not equal: `5\text{ cm}` is `5`, not
/// `5\text{ km}`. `5\%` is both 5 and 0.05, and `60^\circ` both 60 and π/3. A comma between digits is a separator of thousands
/// if three follow it outside brackets, and otherwise that of a list or of decimals: `1,5` is the list and 1.5. A logarithm
/// without a base, `\log x`, has an unknown one.
///
/// Whatever the model writes, the work is bounded: finding the answer takes time linear in the text; an answer of more than
/// 2000 bytes, or with brackets nested more than 40 levels deep, equals only what is written in the same way (a longer one
/// nothing); numbers take constant space, however many digits they have; and comparing two answers ends after 100,000 steps, with
/// "not equal". Values that floats cannot hold are equal only if they are rational: `2^{2000}` and `4^{1000}`.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::MathEquality;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     MathEquality::default().score(r"\frac{\sqrt{2}}{2}", &completion)
/// };
/// assert_eq!(score(r"so $\boxed{\frac{1}{\sqrt 2}}$."), 2.0);
/// assert_eq!(score(r"<answer>$\sin 45^\circ$</answer>"), 2.0);
/// assert_eq!(score(r"so $\boxed{0.71}$."), 0.0);
/// assert_eq!(score(r"$\boxed{\frac{1}{\sqrt 2}}$ or $\boxed{\sqrt 2}$"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MathEquality {
    /// What a right answer earns.
    pub reward: f32,
}

impl Default for MathEquality {
    fn default() -> Self {
        Self { reward: 2.0 }
    }
}

impl MathEquality {
    /// Whether an answer is equal to the truth. Both are answers alone: those of a text are what [`extract`](Self::extract) finds.
    ///
    /// ```
    /// use grpo_reward::MathEquality;
    ///
    /// assert!(MathEquality::equal(r"\left\{ 1 \pm \sqrt{5} \right\}", r"1-\sqrt5, 1+\sqrt5"));
    /// assert!(MathEquality::equal(r"(-\infty, 2]", r"x \le 2"));
    /// assert!(!MathEquality::equal("(1, 2)", "(2, 1)"));
    /// ```
    pub fn equal(truth: &str, answer: &str) -> bool {
        let (Some(truth), Some(answer)) = (Reading::of(truth), Reading::of(answer)) else { return false };
        truth.equals(&answer)
    }

    /// The answer that a completion gives, in LaTeX or as plain text. `None` if it is empty.
    ///
    /// ```
    /// use grpo_reward::MathEquality;
    ///
    /// let answer = |text| MathEquality::extract(text);
    /// assert_eq!(answer(r"Hence $x = \boxed{\frac{1}{2}}$.").as_deref(), Some(r"\frac{1}{2}"));
    /// assert_eq!(answer("It takes 5 of 8 hours.").as_deref(), Some("8"));
    /// ```
    pub fn extract(completion: &str) -> Option<String> {
        extract::from_completion(completion)
    }
}

impl<T: AsRef<str> + ?Sized> Reward<T> for MathEquality {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        let answers = extract::stated(truth.as_ref()).zip(Self::extract(&completion.text));
        let right = answers.is_some_and(|(truth, answer)| Self::equal(&truth, &answer));
        if right { self.reward } else { 0.0 }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

/// An answer, as far as it is understood.
struct Reading {
    tokens: Vec<Token>,
    expression: Option<Expression>,
    /// `1,5`, which is a list, as a number with a decimal comma.
    decimal: Option<Expression>,
}

impl Reading {
    /// `None` for an answer that is empty or too long.
    fn of(text: &str) -> Option<Self> {
        let tokens = token::tokens(text)?;
        let expression = parse::parse(&tokens);
        let is_list = matches!(expression, Some(Expression::List(..)));
        Some(Self { decimal: if is_list { decimal_comma(text) } else { None }, expression, tokens })
    }

    fn equals(&self, answer: &Self) -> bool {
        let mut work = Work::default();
        let pairs = [
            (&self.expression, &answer.expression),
            (&self.decimal, &answer.expression),
            (&self.expression, &answer.decimal),
        ];
        let mut readings =
            pairs.into_iter().filter_map(|(truth, answer)| truth.as_ref().zip(answer.as_ref()));
        self.tokens == answer.tokens
            || readings.any(|(truth, answer)| compare::equal(truth, answer, &mut work))
    }
}

fn decimal_comma(text: &str) -> Option<Expression> {
    let (integer, fraction) = text.trim().split_once(',')?;
    let (negative, integer) = integer.strip_prefix('-').map_or((false, integer), |integer| (true, integer));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let digits = (is_digits(integer) && is_digits(fraction)).then(|| format!("{integer}.{fraction}"))?;
    let number = Expression::Decimal(Number::decimal(&digits)?);
    Some(if negative { Expression::negative(number) } else { number })
}
