//! The texts that an audit makes from a gold.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::Layout;
use crate::extract::strip;
use crate::layout::Tags;
use crate::markup::plain;
use crate::number::{Decimal, SEPARATORS};

/// A completion that is wrong, or not in the expected form, and must earn less than the gold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trick {
    /// No text.
    Empty,
    /// The tags with nothing in them.
    EmptyTags,
    /// The prompt instead of the answer.
    EchoedPrompt,
    /// Many numbers instead of the answer, including the right one.
    EveryNumber,
    /// `18 or 28` instead of the answer.
    EitherAnswer,
    /// The answer, followed by a second pair of answer tags with a different one. The last answer counts, and
    /// it is wrong.
    TwoAnswers,
    /// The right answer instead of the reasoning, and a different one instead of the answer.
    ReasoningOnly,
    /// The text ends with the answer, without the closing tag. It is always judged by the total: the answer
    /// is right, but the form is not.
    Unclosed,
    /// A megabyte of a different answer, repeated.
    LongAnswer,
    /// A megabyte of opening parentheses instead of the answer.
    DeepParentheses,
}

/// Another way to write a number that is just as right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// `18.` for a whole number.
    FinalPoint,
    /// `$18`.
    Dollar,
    /// `1,200` for 1200.
    Thousands,
    /// `+18`.
    Plus,
    /// `−5` with U+2212 for -5.
    TypographicMinus,
    /// Spaces and line breaks around it.
    Whitespace,
}

impl Trick {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Empty,
        Self::EmptyTags,
        Self::EchoedPrompt,
        Self::EveryNumber,
        Self::EitherAnswer,
        Self::TwoAnswers,
        Self::ReasoningOnly,
        Self::Unclosed,
        Self::LongAnswer,
        Self::DeepParentheses,
    ];

    /// The gold with the trick applied. `None` if the gold lacks the tags for it, or if the trick changes
    /// nothing.
    pub(super) fn text(self, gold: &Gold<'_>) -> Option<String> {
        let text = match self {
            Self::Empty => String::new(),
            Self::EmptyTags => gold.with_reasoning("", "")?,
            Self::EchoedPrompt => gold.with_answer(gold.prompt),
            Self::EveryNumber => gold.with_answer(&gold.every_number()),
            Self::EitherAnswer => gold.with_answer(&format!("{} or {}", gold.answer, gold.other())),
            Self::TwoAnswers => gold.with_second_answer(&gold.other())?,
            Self::ReasoningOnly => gold.with_reasoning(gold.answer, &gold.other())?,
            Self::Unclosed => gold.unclosed()?,
            Self::LongAnswer => gold.with_answer(&megabyte(&format!("{} ", gold.other()))),
            Self::DeepParentheses => gold.with_answer(&megabyte("(")),
        };
        (text != gold.text).then_some(text)
    }

    pub(super) fn is_long(self) -> bool {
        matches!(self, Self::LongAnswer | Self::DeepParentheses)
    }
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::FinalPoint,
        Self::Dollar,
        Self::Thousands,
        Self::Plus,
        Self::TypographicMinus,
        Self::Whitespace,
    ];

    /// The gold with its number written this way. `None` if it is not a number or can't be written this way.
    pub(super) fn text(self, gold: &Gold<'_>) -> Option<String> {
        Decimal::parse(gold.answer)?;
        let whole = plain(gold.answer);
        let number = whole.trim_start_matches(['+', '-', '$']);
        let sign = &whole[..whole.len() - number.len()];
        let answer = match self {
            Self::FinalPoint if !number.contains('.') => format!("{sign}{number}."),
            Self::Dollar if !sign.contains('$') => format!("{sign}${number}"),
            Self::Thousands => format!("{sign}{}", grouped(number)?),
            Self::Plus if sign.is_empty() => format!("+{number}"),
            Self::TypographicMinus if sign.contains('-') => whole.replace('-', "\u{2212}"),
            Self::Whitespace => format!("\n \t{whole}\u{a0}\n\n"),
            _ => return None,
        };
        Some(gold.with_answer(&answer))
    }
}

impl fmt::Display for Trick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Empty => "no text",
            Self::EmptyTags => "empty tags",
            Self::EchoedPrompt => "echoed prompt",
            Self::EveryNumber => "every number",
            Self::EitherAnswer => "one answer or another",
            Self::TwoAnswers => "another answer after the right one",
            Self::ReasoningOnly => "answer in the reasoning only",
            Self::Unclosed => "unclosed answer",
            Self::LongAnswer => "1 MB of answers",
            Self::DeepParentheses => "1 MB of parentheses",
        })
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::FinalPoint => "final point",
            Self::Dollar => "dollar",
            Self::Thousands => "comma between thousands",
            Self::Plus => "plus sign",
            Self::TypographicMinus => "typographic minus",
            Self::Whitespace => "whitespace around",
        })
    }
}

/// A right completion, split into its parts.
pub(super) struct Gold<'a> {
    prompt: &'a str,
    text: &'a str,
    answer: &'a str,
    /// Everything before the answer, including the opening tag and the whitespace after it.
    head: &'a str,
    /// From the answer on.
    tail: &'a str,
    /// The position of the reasoning in `head`.
    reasoning: Option<Range<usize>>,
    /// The position of the answer's opening tag in `head`.
    opening: Option<usize>,
}

impl<'a> Gold<'a> {
    pub(super) fn new(layout: &Layout, prompt: &'a str, text: &'a str) -> Self {
        let Tags { open_reasoning, close_reasoning, open_answer, close_answer } = layout.tags();
        let opening = text.rfind(&open_answer);
        let start = opening.map_or(0, |opening| opening + open_answer.len());
        let answer = inside(text, start, &close_answer);
        let head = &text[..answer.start];
        let reasoning = opening.and_then(|_| {
            let start = head.find(&open_reasoning)? + open_reasoning.len();
            head[start..].contains(&close_reasoning).then(|| inside(head, start, &close_reasoning))
        });
        Self { prompt, text, head, tail: &text[answer.end..], answer: &text[answer], reasoning, opening }
    }

    fn with_answer(&self, answer: &str) -> String {
        format!("{}{answer}{}", self.head, self.tail)
    }

    fn with_second_answer(&self, answer: &str) -> Option<String> {
        let opening = &self.head[self.opening?..];
        Some(format!("{}{opening}{answer}{}", self.text, self.tail))
    }

    fn with_reasoning(&self, reasoning: &str, answer: &str) -> Option<String> {
        let place = self.reasoning.clone()?;
        let (before, after) = (&self.head[..place.start], &self.head[place.end..]);
        Some(format!("{before}{reasoning}{after}{answer}{}", self.tail))
    }

    fn unclosed(&self) -> Option<String> {
        self.opening.map(|_| format!("{}{}", self.head, self.answer))
    }

    /// The answer with its first letter or digit changed: a different answer of the same kind.
    fn other(&self) -> String {
        let next = |c: char| match c {
            'z' => 'a',
            'Z' => 'A',
            '9' => '1',
            c => char::from(c as u8 + 1),
        };
        match self.answer.char_indices().find(|(_, c)| c.is_ascii_alphanumeric()) {
            Some((at, c)) => {
                format!("{}{}{}", &self.answer[..at], next(c), &self.answer[at + c.len_utf8()..])
            }
            None => format!("{}0", self.answer),
        }
    }

    /// Small numbers and those of the prompt, with the answer among them, neither first nor last.
    fn every_number(&self) -> String {
        static NUMBER: LazyLock<Regex> = LazyLock::new(|| Regex::new("[0-9]+").expect("it is valid"));
        let mut numbers: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
        numbers.push(self.answer.to_owned());
        numbers.extend(NUMBER.find_iter(self.prompt).map(|number| number.as_str().to_owned()));
        numbers.push(self.other());
        numbers.join(", ")
    }
}

/// From `start` up to the closing tag or the end of the text, without the whitespace around it.
fn inside(text: &str, start: usize, close: &str) -> Range<usize> {
    let inside = &text[start..];
    let inside = &inside[..inside.find(close).unwrap_or(inside.len())];
    let stripped = strip(inside);
    let start = start + inside.find(stripped).unwrap_or(0);
    start..start + stripped.len()
}

/// `1200` with commas between thousands, if it has any and has no separator yet.
fn grouped(number: &str) -> Option<String> {
    let (integer, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    if integer.len() < 4 || integer.contains(SEPARATORS) {
        return None;
    }
    let mut grouped = integer.to_owned();
    for at in (1..integer.len()).rev().filter(|at| (integer.len() - at) % 3 == 0) {
        grouped.insert(at, ',');
    }
    Some(grouped + fraction)
}

fn megabyte(piece: &str) -> String {
    piece.repeat((1 << 20) / piece.len())
}
