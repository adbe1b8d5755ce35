//! Decimal numbers as people write them.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

use crate::markup::plain;
use crate::text::regex;

/// A number in [`plain`] text: a sign, a dollar sign, digits (in groups of three, or without groups) and a
/// fraction, each of which may be missing.
pub(crate) const NUMBER: &str = concat!(
    r"(?<sign>[+\-]?)(?<dollar>\$?)",
    r"(?<integer>[0-9]{1,3}(?:(?:,[0-9]{3})+|(?:'[0-9]{3})+|(?:\u{202f}[0-9]{3})+)|[0-9]*)",
    r"(?:\.(?<fraction>[0-9]*))?"
);

/// The separator between groups of three digits.
pub(crate) const SEPARATORS: [char; 3] = [',', '\'', '\u{202f}'];

static ONLY_NUMBER: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"\A{NUMBER}\z")));

/// A decimal number of any size in normal form, so that equal numbers are equal values.
#[derive(Debug, PartialEq)]
pub(crate) struct Decimal {
    /// Never set for zero.
    negative: bool,
    /// Without leading zeros; empty below 1.
    integer: String,
    /// Without trailing zeros.
    fraction: String,
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let integer = if self.integer.is_empty() { "0" } else { &self.integer };
        write!(f, "{}{integer}", if self.negative { "-" } else { "" })?;
        if self.fraction.is_empty() { Ok(()) } else { write!(f, ".{}", self.fraction) }
    }
}

impl Decimal {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = plain(text);
        let number = match text.strip_suffix('.') {
            Some(number) if number.contains('.') && !number.ends_with('.') => number, // of `18.5.`
            _ => &text,
        };
        let groups = ONLY_NUMBER.captures(number)?;
        let group = |name| groups.name(name).map_or("", |group| group.as_str());
        let (sign, integer, fraction) = (group("sign"), group("integer"), group("fraction"));
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        let integer = integer.replace(SEPARATORS, "").trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        let zero = integer.is_empty() && fraction.is_empty();
        Some(Self { negative: !zero && sign == "-", integer, fraction })
    }
}
