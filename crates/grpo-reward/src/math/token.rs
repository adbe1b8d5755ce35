//! The words of an answer in LaTeX, in Unicode, or in plain text.

use std::sync::LazyLock;

use regex::Regex;

use super::expression::{Joint, Unit};
use super::symbols::{Meaning, command, sign};
use crate::extract::closing_brace;
use crate::text::{compatible, narrow, regex};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Digits, and a decimal point.
    Number(String),
    /// A variable or a constant.
    Symbol(String),
    Text(String),
    /// A function that is applied to what follows.
    Function(String),
    /// A command whose arguments are in braces.
    Command(&'static str),
    /// A sign of one character, in one form for all that mean the same.
    Sign(char),
    Joint(Joint),
}

/// Digits in groups of three, the separators of which are all the same.
static GROUPED: LazyLock<Regex> = LazyLock::new(|| {
    let separators =
        [r",", r"\s?\{,\s?\}\s?", r"\s?,\s?\\!\s?", r"\\[,;:\ ]\s?", r"[\ '’\u{a0}\u{2009}\u{202f}]"];
    let groups = separators.map(|separator| format!("(?:{separator}[0-9]{{3}})+")).join("|");
    regex(&format!(r"\A[1-9][0-9]{{0,2}}(?:{groups})"))
});
static DIGITS: LazyLock<Regex> = LazyLock::new(|| regex(r"\A[0-9]+"));
static FRACTION: LazyLock<Regex> = LazyLock::new(|| regex(r"\A\.[0-9]+"));
static POWER_OF_TEN: LazyLock<Regex> = LazyLock::new(|| regex(r"\A[eE]([+-]?[0-9]{1,3})(?:[^0-9A-Za-z]|\z)"));
static DEGREE: LazyLock<Regex> = LazyLock::new(|| regex(r"\A(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|°)"));
static LETTERS: LazyLock<Regex> = LazyLock::new(|| regex(r"\A[A-Za-z]+"));

/// The longest answer that is read, in bytes.
const MAX_LENGTH: usize = 2000;

/// `None` for an answer that is empty or too long.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let text = narrow(text);
    let lexer = Lexer { rest: &text, depth: 0, in_text: false, tokens: Vec::new() };
    Some(lexer.tokens()).filter(|tokens| !tokens.is_empty())
}

struct Lexer<'a> {
    rest: &'a str,
    /// Open brackets: a comma between digits in them is no separator of thousands.
    depth: usize,
    /// In the argument of `\text`, commands for text change nothing.
    in_text: bool,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn tokens(mut self) -> Vec<Token> {
        while !self.rest.is_empty() {
            self.step();
        }
        self.tokens
    }

    fn step(&mut self) {
        if let Some(number) = self.number() {
            return self.scaled(number);
        }
        if self.take(&DEGREE).is_some() {
            return self.tokens.push(Token::Sign('°'));
        }
        if self.rest.starts_with('\\') {
            return self.backslash();
        }
        match self.take(&LETTERS) {
            Some(letters) => self.word(letters),
            None => self.character(),
        }
    }

    /// What the pattern finds at the beginning of the rest.
    fn take(&mut self, pattern: &Regex) -> Option<&'a str> {
        let found = pattern.find(self.rest)?.as_str();
        self.rest = &self.rest[found.len()..];
        Some(found)
    }

    fn number(&mut self) -> Option<String> {
        let digits = DIGITS.find(self.rest).map_or("", |found| found.as_str());
        if self.in_short_fraction() && digits.len() > 1 {
            self.rest = &self.rest[1..];
            return Some(digits[..1].to_owned());
        }
        let integer = self.grouped().unwrap_or(digits);
        let fraction = FRACTION.find(&self.rest[integer.len()..]).map_or("", |found| found.as_str());
        let repeats = self.rest[integer.len()..].starts_with(".\\overline");
        if integer.is_empty() && fraction.is_empty() {
            return None;
        }
        self.rest = &self.rest[integer.len() + fraction.len() + usize::from(repeats)..];
        let integer: String = integer.chars().filter(char::is_ascii_digit).collect();
        Some(if repeats { integer + "." } else { integer + fraction })
    }

    /// Digits with separators between groups of three, if they are one number.
    fn grouped(&self) -> Option<&'a str> {
        let grouped = GROUPED.find(self.rest)?.as_str();
        let separates_items = self.depth > 0 && grouped.contains(',') && !grouped.contains(['{', '\\']);
        let goes_on = self.rest[grouped.len()..].starts_with(|c: char| c.is_ascii_digit());
        (!separates_items && !goes_on).then_some(grouped)
    }

    /// Whether a digit is an argument on its own: `\frac12`.
    fn in_short_fraction(&self) -> bool {
        match &self.tokens[..] {
            [.., Token::Command("frac")] => true,
            [.., Token::Command("frac"), Token::Number(digits)] => digits.len() == 1,
            _ => false,
        }
    }

    /// A number with its power of ten, if it has one: `3e8`.
    fn scaled(&mut self, number: String) {
        let Some(power) = POWER_OF_TEN.captures(self.rest).and_then(|groups| groups.get(1)) else {
            return self.tokens.push(Token::Number(number));
        };
        self.rest = &self.rest[power.end()..];
        let power = power.as_str();
        let sign = if power.starts_with('-') { '-' } else { '+' };
        let digits = Token::Number(power.trim_start_matches(['+', '-']).to_owned());
        let ten = Token::Number("10".to_owned());
        self.tokens.extend([
            Token::Sign('('),
            Token::Number(number),
            Token::Sign('*'),
            ten,
            Token::Sign('^'),
        ]);
        self.tokens.extend([Token::Sign('{'), Token::Sign(sign), digits, Token::Sign('}'), Token::Sign(')')]);
    }

    /// Letters without a backslash.
    fn word(&mut self, letters: &str) {
        let after_value = matches!(self.tokens.last(), Some(Token::Number(_) | Token::Sign('}')));
        let after_text = matches!(self.tokens.last(), Some(Token::Text(_)));
        match (letters, command(letters)) {
            ("and", _) => self.tokens.push(Token::Joint(Joint::And)),
            ("or", _) => self.tokens.push(Token::Joint(Joint::Or)),
            _ if after_value && Unit::is_symbol(letters) || after_text && letters.len() > 1 => {
                self.tokens.push(Token::Text(letters.to_owned()));
            }
            ("pi" | "infinity" | "sqrt", Some(meaning)) | (_, Some(meaning @ Meaning::Function)) => {
                self.push(letters, meaning)
            }
            _ if letters.len() > 3 => self.tokens.push(Token::Text(letters.to_owned())),
            _ => self.tokens.extend(letters.chars().map(|letter| Token::Symbol(letter.into()))),
        }
    }

    fn backslash(&mut self) {
        // A string that was escaped twice has two backslashes before its commands.
        let doubled = self.rest.strip_prefix("\\\\").filter(|rest| {
            LETTERS.find(rest).is_some_and(|name| name.as_str().len() > 1 && command(name.as_str()).is_some())
        });
        self.rest = doubled.unwrap_or(&self.rest[1..]);
        match self.take(&LETTERS) {
            Some(name) => match (command(name), name.strip_prefix("quad")) {
                (Some(meaning), _) => self.push(name, meaning),
                // `\quadx`, from sources that have lost a space
                (None, Some(rest)) => self.word(rest.strip_prefix("quad").unwrap_or(rest)),
                (None, None) => self.tokens.push(Token::Symbol(name.to_owned())),
            },
            None => self.escaped(),
        }
    }

    /// What follows a backslash, if it is not a letter.
    fn escaped(&mut self) {
        let Some(next) = self.rest.chars().next() else { return };
        self.rest = &self.rest[next.len_utf8()..];
        match next {
            '{' | '}' => self.sign(if next == '{' { '⦃' } else { '⦄' }),
            '%' => self.sign('%'),
            '|' => self.sign('|'),
            '\\' => self.sign('⏎'),
            '$' | ',' | ';' | ':' | '!' => {}
            next if next.is_whitespace() => {}
            other => self.tokens.push(Token::Symbol(other.into())),
        }
    }

    fn push(&mut self, name: &str, meaning: Meaning) {
        match meaning {
            Meaning::Sign(sign) => self.sign(sign),
            Meaning::Function => self.tokens.push(Token::Function(name.to_owned())),
            Meaning::Command(name) => self.tokens.push(Token::Command(name)),
            Meaning::Symbol(name) => self.tokens.push(Token::Symbol(name.to_owned())),
            Meaning::Text | Meaning::Font if self.in_text => {}
            Meaning::Text => self.text(false),
            Meaning::Font => self.text(true),
            // `\right.` closes nothing.
            Meaning::Size => self.rest = self.rest.strip_prefix('.').unwrap_or(self.rest),
            Meaning::Nothing => {}
        }
    }

    /// The argument of `\text`, or of a font for formulas.
    fn text(&mut self, font: bool) {
        let Some(open) = self.rest.trim_start().strip_prefix('{') else { return };
        let Some(end) = closing_brace(open) else { return };
        let (inside, rest) = (&open[..end], &open[end + 1..]);
        self.rest = rest;
        let words = inside.trim_matches(|c: char| c.is_whitespace() || "~,.;()$".contains(c));
        let mut letters = words.chars().filter(|c| !"\\ ".contains(*c));
        let after_number = matches!(self.tokens.last(), Some(Token::Number(_)));
        match (letters.next(), letters.next()) {
            _ if matches!(words, "and" | "or") => self.word(words),
            (None, _) => {}
            (Some(letter), None) if letter.is_alphabetic() && (font && letter == 'e' || !after_number) => {
                self.tokens.push(Token::Symbol(letter.into()));
            }
            _ if words.contains(|c: char| c.is_ascii_digit() || "\\{}^_=+".contains(c)) => {
                let inside = Lexer { rest: inside, depth: self.depth, in_text: true, tokens: Vec::new() };
                self.tokens.extend(inside.tokens());
            }
            _ => self.tokens.push(Token::Text(words.to_owned())),
        }
    }

    fn character(&mut self) {
        let Some(next) = self.rest.chars().next() else { return };
        if let Some((written, meant)) = [("<=", '≤'), (">=", '≥'), ("!=", '≠'), ("...", '…')]
            .into_iter()
            .find(|(written, _)| self.rest.starts_with(written))
        {
            self.rest = &self.rest[written.len()..];
            return self.sign(meant);
        }
        self.rest = &self.rest[next.len_utf8()..];
        match next {
            '²' | '³' | '⁰' | '¹' | '⁴'..='⁹' => {
                self.sign('^');
                self.tokens.push(Token::Number(compatible(&next.to_string())));
            }
            '¼'..='¾' | '⅐'..='⅞' => {
                self.tokens.push(Token::Command("frac"));
                let digits = compatible(&next.to_string());
                for digits in digits.split('\u{2044}') {
                    let number = Token::Number(digits.to_owned());
                    self.tokens.extend([Token::Sign('{'), number, Token::Sign('}')]);
                }
            }
            '.' | '。' | '$' | '€' | '£' | '¥' | '~' | '"' | '`' => {}
            next if next.is_whitespace() || next.is_control() || is_invisible(next) => {}
            next => match sign(next) {
                Some(Meaning::Symbol(name)) => self.tokens.push(Token::Symbol(name.to_owned())),
                Some(Meaning::Command(name)) => self.tokens.push(Token::Command(name)),
                Some(Meaning::Sign(sign)) => self.sign(sign),
                _ if next.is_alphabetic() => self.tokens.push(Token::Symbol(next.into())),
                _ => self.sign(next),
            },
        }
    }

    fn sign(&mut self, sign: char) {
        match sign {
            '(' | '[' | '{' | '⦃' => self.depth += 1,
            ')' | ']' | '}' | '⦄' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.tokens.push(Token::Sign(sign));
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
