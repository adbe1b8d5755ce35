//! Where a text gives its answer.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::extract::{BOXED, boxed_before, extract_answer, strip};
use crate::text::regex;

/// Markdown's signs, which mean nothing at the ends of a formula.
const EMPHASIS: [char; 2] = ['*', '`'];

/// What may be between two formulas of a list besides a conjunction: punctuation, spaces, and the delimiters of formulas.
const PUNCTUATION: &str = r"(?:[^A-Za-z0-9\\.]|\\[,;:!()\[\]\ ]|\\q?quad|\\text\{)*";

/// The answer in a completion, in LaTeX or as plain text. `None` if there is none.
pub(super) fn from_completion(text: &str) -> Option<String> {
    if text.contains("<answer>") { stated(extract_answer(text)) } else { found(text, last_number) }
}

/// The answer in a truth, or in text that has little else: a number among words isn't looked for.
pub(super) fn stated(text: &str) -> Option<String> {
    found(text, |_| None)
}

fn found(text: &str, in_prose: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    // Whichever comes last: a box, or an announced answer.
    let last_box = text.rfind(BOXED).unwrap_or(0);
    let answer = announced(&text[last_box..])
        .or_else(|| boxed(text))
        .or_else(|| if is_prose(text) { in_prose(text).or_else(|| last_formula(text)) } else { None });
    let answer = answer.unwrap_or_else(|| text.trim_matches(EMPHASIS).to_owned());
    Some(strip(&answer).to_owned()).filter(|answer| !answer.is_empty())
}

/// A part of a text with what delimits it, and without.
#[derive(Clone, Debug)]
struct Span {
    outer: Range<usize>,
    inside: Range<usize>,
}

/// What is in the last `\boxed{…}`, and in those before it that are parts of the same list.
fn boxed(text: &str) -> Option<String> {
    let mut boxes: Vec<Span> = Vec::new();
    let mut end = text.len();
    while let Some(inside) = boxed_before(text, end) {
        let outer = inside.start - BOXED.len()..inside.end + 1;
        if !boxes.is_empty() && !joins_boxes(&text[outer.end..end]) {
            break;
        }
        end = outer.start;
        boxes.push(Span { outer, inside });
    }
    boxes.reverse();
    joined(text, &boxes)
}

/// Spans as a list, with the percent sign that may follow the last one.
fn joined(text: &str, spans: &[Span]) -> Option<String> {
    let items: Vec<&str> = spans.iter().map(|span| &text[span.inside.clone()]).collect();
    Some(items.join(", ") + percent_sign(&text[spans.last()?.outer.end..]))
}

/// The sign that makes the number before it a percentage.
fn percent_sign(after: &str) -> &'static str {
    static PERCENT: LazyLock<Regex> = LazyLock::new(|| regex(r"\A\$?\s*(?:\\?%|percent|pct)"));
    if PERCENT.is_match(after) { "\\%" } else { "" }
}

/// Whether two boxes with this between them belong to one list: `} papers and \boxed{`, but not other sentences.
fn joins_boxes(gap: &str) -> bool {
    static CONJUNCTION: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(?:\A|[^A-Za-z])(?:and|or)(?:[^A-Za-z]|\z)"));
    const LENGTH: usize = 60;
    gap.len() <= LENGTH
        && !gap.contains("\n\n")
        && !gap.contains(". ")
        && (joins_formulas(gap) || CONJUNCTION.is_match(gap))
}

/// Whether there is no word between two formulas but a conjunction, and nothing else but punctuation.
fn joins_formulas(gap: &str) -> bool {
    static CONJUNCTION: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!(r"\A{PUNCTUATION}(?:and|or)?{PUNCTUATION}\\?\z")));
    CONJUNCTION.is_match(gap)
}

/// What follows the last "answer is" or "answer:", if that is a formula or a number.
fn announced(text: &str) -> Option<String> {
    static ANSWER: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r#"(?i)answer\**(?:\s+is|\s*:)[\s:*"“]*(?:\\")?(?<formula>\$|\\\(|\\\[|(?<number>[-−]?\.?[0-9]))"#,
        )
    });
    let found = ANSWER.captures_iter(text).last()?;
    let rest = &text[found.name("formula")?.start()..];
    if found.name("number").is_some() {
        return joined(rest, &numbers(rest).take(1).collect::<Vec<_>>());
    }
    let spans = formulas(rest);
    let length = 1 + breaks(rest, &spans).next().unwrap_or(spans.len());
    match spans.first() {
        Some(first) if first.outer.start == 0 => joined(rest, &spans[..length.min(spans.len())]),
        // An amount of money.
        _ => {
            joined(rest, &numbers(rest).take(1).filter(|number| number.outer.start == 1).collect::<Vec<_>>())
        }
    }
}

/// The indices of the formulas that the next one belongs to no list with.
fn breaks(text: &str, spans: &[Span]) -> impl DoubleEndedIterator<Item = usize> {
    let gaps = spans.windows(2).map(|pair| &text[pair[0].outer.end..pair[1].outer.start]);
    gaps.enumerate().filter(|(_, gap)| !joins_formulas(gap)).map(|(index, _)| index)
}

/// Whether there is more than a formula, so that the answer is a part of the text.
fn is_prose(text: &str) -> bool {
    static TEXT: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\\(?:text|math|mbox|operatorname|begin|end)[a-z]*\s*\{[^{}]*\}"));
    static WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"(\\?)([A-Za-z]+)"));
    const KNOWN: [&str; 10] = ["and", "or", "sqrt", "sin", "cos", "tan", "log", "ln", "pi", "infinity"];
    let formula = TEXT.replace_all(text, " ");
    let mut words = WORD.captures_iter(&formula).filter(|word| word[1].is_empty());
    !formulas(text).is_empty() || words.any(|word| word[2].len() > 1 && !KNOWN.contains(&&word[2]))
}

/// The last formula, and those before it that are parts of the same list.
fn last_formula(text: &str) -> Option<String> {
    let spans = formulas(text);
    let start = breaks(text, &spans).next_back().map_or(0, |before| before + 1);
    joined(text, &spans[start..])
}

/// The last number, unless a formula follows it.
fn last_number(text: &str) -> Option<String> {
    let start = formulas(text).last().map_or(0, |span| span.outer.end);
    let rest = &text[start..];
    joined(rest, &[numbers(rest).last()?])
}

/// The numbers in a text that are not parts of words, with their fractions, and tuples of them.
fn numbers(text: &str) -> impl Iterator<Item = Span> {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?x)[(\[][-−0-9./,\ ]*,[-−0-9./,\ ]*[)\]]|
            (?:(?:[0-9]{1,3}(?:(?:,[0-9]{3})+|(?:\ [0-9]{3})+|(?:,\\![0-9]{3})+|(?:\{,\}[0-9]{3})+)\b|[0-9]+)
            (?:[.,][0-9]+)?(?:\s?/\s?[0-9]+)?|\.[0-9]+)(?:\s(?:dozen|hundred|thousand|(?:m|b|tr)illion)\b)?",
        )
    });
    NUMBER.find_iter(text).filter_map(|found| {
        let before = &text[..found.start()];
        if before.ends_with(|c: char| c.is_alphanumeric() || "^_{\\".contains(c)) {
            return None;
        }
        let sign = before.chars().next_back().filter(|c| matches!(c, '-' | '−')).map_or(0, char::len_utf8);
        let start = before.len() - sign;
        let is_sign = !before[..start].ends_with(|c: char| c.is_alphanumeric() || ")]}".contains(c));
        let range = if is_sign { start..found.end() } else { found.range() };
        Some(Span { outer: range.clone(), inside: range })
    })
}

/// What is between the delimiters of formulas. A dollar sign before a digit closes none: it is that of an amount.
fn formulas(text: &str) -> Vec<Span> {
    static DELIMITER: LazyLock<Regex> = LazyLock::new(|| regex(r"\\[$\\()\[\]]|\$\$|\$|\n\s*\n"));
    let mut spans = Vec::new();
    let mut open: Option<Range<usize>> = None;
    for found in DELIMITER.find_iter(text) {
        let opening = open.as_ref().map(|range| &text[range.clone()]);
        let closes = match (opening, found.as_str()) {
            (Some("$"), "$") => !text[found.end()..].starts_with(|c: char| c.is_ascii_digit()),
            (Some("$$"), "$$") | (Some("\\("), "\\)") | (Some("\\["), "\\]") => true,
            _ => false,
        };
        if let (true, Some(start)) = (closes, &open) {
            spans.push(Span { outer: start.start..found.end(), inside: start.end..found.start() });
            open = None;
        } else if found.as_str().starts_with('\n') {
            open = open.filter(|range| &text[range.clone()] == "$$" || &text[range.clone()] == "\\[");
        } else if matches!(found.as_str(), "\\(" | "\\[" | "$$")
            || found.as_str() == "$" && opening.is_none_or(|open| open == "$")
        {
            open = Some(found.range());
        }
    }
    spans
}
