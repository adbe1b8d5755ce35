//! Arithmetic expressions, computed exactly.

use std::iter::Peekable;
use std::str::Chars;

use crate::extract::is_space;

/// Parentheses nested deeper than this are refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 100;

/// An expression that was computed successfully.
pub(crate) struct Expression {
    pub(crate) value: Rational,
    /// Its numbers, from left to right.
    pub(crate) numbers: Vec<u64>,
}

impl Expression {
    /// Parses [`plain`](crate::markup::plain) text. `None` if it is not an expression, divides by 0, or overflows.
    pub(crate) fn evaluate(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text.chars().peekable(), numbers: Vec::new(), depth: 0 };
        let value = parser.sum()?;
        parser.peek().is_none().then_some(Self { value, numbers: parser.numbers })
    }
}

/// Descends from sums to products to factors, and computes on the way back up.
struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    numbers: Vec<u64>,
    depth: usize,
}

impl Parser<'_> {
    fn sum(&mut self) -> Option<Rational> {
        let mut value = self.product()?;
        loop {
            value = match self.peek() {
                Some('+') => value.add(self.behind(Self::product)?)?,
                Some('-') => value.sub(self.behind(Self::product)?)?,
                _ => return Some(value),
            };
        }
    }

    fn product(&mut self) -> Option<Rational> {
        let mut value = self.factor()?;
        loop {
            value = match self.peek() {
                Some('*' | '×' | '·' | '∗') => value.mul(self.behind(Self::factor)?)?,
                Some('/' | '÷' | '∕') => value.div(self.behind(Self::factor)?)?,
                _ => return Some(value),
            };
        }
    }

    fn factor(&mut self) -> Option<Rational> {
        if self.peek()? == '(' { self.parentheses() } else { self.number() }
    }

    fn parentheses(&mut self) -> Option<Rational> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = self.behind(Self::sum)?;
        self.depth -= 1;
        self.peek().filter(|c| *c == ')')?;
        self.rest.next();
        Some(value)
    }

    fn number(&mut self) -> Option<Rational> {
        let mut number = u64::from(self.rest.next()?.to_digit(10)?);
        while let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(10)) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            self.rest.next();
        }
        self.numbers.push(number);
        Some(Rational::whole(number))
    }

    /// What `parse` finds after the next character.
    fn behind(&mut self, parse: impl Fn(&mut Self) -> Option<Rational>) -> Option<Rational> {
        self.rest.next();
        parse(self)
    }

    /// The next character that is not whitespace.
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|c| is_space(*c)).is_some() {}
        self.rest.peek().copied()
    }
}

/// A fraction in lowest terms with a positive denominator, so that equal numbers are equal values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rational {
    numerator: i128,
    denominator: i128,
}

// `None` if a number overflows or is divided by 0.
impl Rational {
    pub(crate) fn whole(number: impl Into<i128>) -> Self {
        Self { numerator: number.into(), denominator: 1 }
    }

    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let divisor = gcd(numerator.checked_abs()?, denominator.checked_abs()?) * denominator.signum();
        Some(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    fn add(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    fn sub(self, other: Self) -> Option<Self> {
        self.add(Self { numerator: other.numerator.checked_neg()?, ..other })
    }

    fn mul(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(other.numerator)?,
            self.denominator.checked_mul(other.denominator)?,
        )
    }

    fn div(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(other.denominator)?,
            self.denominator.checked_mul(other.numerator)?,
        )
    }
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
