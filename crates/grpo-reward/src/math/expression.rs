//! What an answer says, as a tree.

use super::number::Number;

/// An expression, or a statement about expressions.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Number(Number),
    /// A number with a decimal point, which may have been rounded.
    Decimal(Number),
    Symbol(String),
    Text(String),
    Infinity,
    Negative(Box<Expression>),
    Sum(Vec<Expression>),
    Product(Vec<Expression>),
    Quotient(Box<Expression>, Box<Expression>),
    Power(Box<Expression>, Box<Expression>),
    /// A function, or anything else that has a name and arguments.
    Call(String, Vec<Expression>),
    Quantity(Box<Expression>, Unit),
    Matrix(Vec<Vec<Expression>>),
    /// `(1, 2)`, `[0, 1)`: a tuple, or an interval.
    Bracket(char, Vec<Expression>, char),
    /// `{1, 2}`.
    Set(Vec<Expression>),
    List(Joint, Vec<Expression>),
    /// `∪`, `∩` or `∖`.
    Operation(char, Vec<Expression>),
    /// `a < b = c`: one sign less than sides.
    Relation(Vec<Expression>, Vec<char>),
}

/// What is between the items of a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Joint {
    Comma,
    And,
    Or,
}

/// A unit of measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    Percent,
    Degree,
    /// One of which another name is known: two different ones are not equal.
    Known(&'static str),
    Other,
}

impl Unit {
    /// A unit's names, the first of which is its symbol.
    const NAMES: [&'static [&'static str]; 32] = [
        &["mm", "millimeter", "millimetre"],
        &["cm", "centimeter", "centimetre"],
        &["dm", "decimeter", "decimetre"],
        &["m", "meter", "metre"],
        &["km", "kilometer", "kilometre"],
        &["in", "inch", "inches"],
        &["ft", "foot", "feet"],
        &["yd", "yard"],
        &["mi", "mile"],
        &["mg", "milligram"],
        &["g", "gram"],
        &["kg", "kilogram"],
        &["oz", "ounce"],
        &["lb", "lbs", "pound"],
        &["ml", "milliliter", "millilitre"],
        &["l", "liter", "litre"],
        &["s", "sec", "second"],
        &["min", "minute"],
        &["h", "hr", "hour"],
        &["day"],
        &["week"],
        &["month"],
        &["year", "yr"],
        &["cent"],
        &["dollar", "usd"],
        &["euro", "eur"],
        &["mph"],
        &["hz", "hertz"],
        &["n", "newton"],
        &["j", "joule"],
        &["w", "watt"],
        &["v", "volt"],
    ];

    /// The unit that a word names; more than one word is none that is known.
    pub(super) fn of(text: &str) -> Self {
        let word = text.trim_matches(|c: char| c.is_whitespace() || c == '.').to_lowercase();
        match word.as_str() {
            "percent" | "pct" | "percentage" => return Self::Percent,
            "degree" | "degrees" | "deg" => return Self::Degree,
            _ => {}
        }
        let singular = word.strip_suffix('s').filter(|singular| singular.len() > 2).unwrap_or(&word);
        let names =
            Self::NAMES.iter().find(|names| names.iter().any(|name| *name == word || *name == singular));
        names.map_or(Self::Other, |names| Self::Known(names[0]))
    }

    /// The number that a text begins with as a word, and the rest: 1,000,000 and `dollars`.
    pub(super) fn scale(text: &str) -> Option<(i64, &str)> {
        let text = text.trim_start();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let scale = match word {
            "dozen" => 12,
            "hundred" => 100,
            "thousand" => 1000,
            "million" => 1_000_000,
            "billion" => 1_000_000_000,
            "trillion" => 1_000_000_000_000,
            _ => return None,
        };
        Some((scale, rest))
    }

    /// Whether letters that follow a value are the symbol of a unit, not a product of variables.
    pub(super) fn is_symbol(letters: &str) -> bool {
        letters.len() > 1 && (letters == "pct" || Self::NAMES.iter().any(|names| names[0] == letters))
    }
}

impl Expression {
    pub(super) fn negative(inner: Self) -> Self {
        match inner {
            Self::Quantity(value, unit) => Self::Quantity(Box::new(Self::Negative(value)), unit),
            Self::Number(number) => Self::Number(number.negate()),
            Self::Decimal(number) => Self::Decimal(number.negate()),
            inner => Self::Negative(Box::new(inner)),
        }
    }

    pub(super) fn integer(value: i64) -> Self {
        Self::Number(Number::integer(value))
    }

    /// Whether it contains a number with a decimal point.
    pub(super) fn has_decimal(&self) -> bool {
        self.any(|part| matches!(part, Self::Decimal(_)))
    }

    /// The parts that it is made of.
    pub(super) fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Decimal(_) | Self::Symbol(_) | Self::Text(_) | Self::Infinity => {
                Vec::new()
            }
            Self::Negative(inner) | Self::Quantity(inner, _) => vec![inner],
            Self::Quotient(a, b) | Self::Power(a, b) => vec![a, b],
            Self::Sum(parts)
            | Self::Product(parts)
            | Self::Operation(_, parts)
            | Self::Call(_, parts)
            | Self::Bracket(_, parts, _)
            | Self::Set(parts)
            | Self::List(_, parts)
            | Self::Relation(parts, _) => parts.iter().collect(),
            Self::Matrix(rows) => rows.iter().flatten().collect(),
        }
    }

    /// Whether any of its parts, or the whole, is what is asked for.
    pub(super) fn any(&self, asked: fn(&Self) -> bool) -> bool {
        asked(self) || self.parts().into_iter().any(|part| part.any(asked))
    }
}
