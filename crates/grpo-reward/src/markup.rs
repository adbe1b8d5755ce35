//! Short answers without the markup of Markdown, LaTeX and typography.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::extract::strip;
use crate::text::{narrow, regex};

/// The marks around emphasis and formulas, the longer ones first. `~~5~~` is missing: it is crossed out.
const PAIRS: [(&str, &str); 11] = [
    ("***", "***"),
    ("**", "**"),
    ("*", "*"),
    ("___", "___"),
    ("__", "__"),
    ("_", "_"),
    ("`", "`"),
    ("$$", "$$"),
    ("$", "$"),
    (r"\(", r"\)"),
    (r"\[", r"\]"),
];

/// LaTeX's commands for fonts and frames, with the opening brace.
const COMMAND: &str =
    r"\\(?:text(?:rm|bf|it|sf|tt)?|math(?:rm|bf|it|sf|tt)|operatorname|mbox|emph|underline|boxed|fbox)\s*\{";

/// `text` without the marks of emphasis or formulas around all of it, which may be several. A period
/// after them is dropped.
pub(crate) fn bare(text: &str) -> &str {
    let mut text = strip(text);
    while let Some(inner) = within_pair(text) {
        text = strip(inner);
    }
    text
}

fn within_pair(text: &str) -> Option<&str> {
    static OPENING: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"\A{COMMAND}")));
    let text = text.strip_suffix(['.', '。']).unwrap_or(text);
    let pair = PAIRS.iter().find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close));
    pair.or_else(|| text[OPENING.find(text)?.end()..].strip_suffix('}'))
}

/// The text in a pair of marks at the beginning, and what follows the pair.
pub(crate) fn leading_pair(text: &str) -> Option<(&str, &str)> {
    PAIRS.iter().find_map(|(open, close)| text.strip_prefix(open)?.split_once(close))
}

/// A [`bare`] text in its usual width, with `-` for every sign that looks like it, U+202F for the
/// non-breaking spaces, `.` for `。` at the end, and without LaTeX's commands for spaces, fonts and signs.
pub(crate) fn plain(text: &str) -> String {
    static FONT: LazyLock<Regex> = LazyLock::new(|| regex(&format!(r"{COMMAND}([^{{}}]*)\}}")));
    static DRESSED: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"(?x)\\(?:[$%,;:!\ ]|times|cdot|ast|div|left|right|Omega|mu\s*)|\^\{?\\circ\}?|\{,\}|。\z|
            [’\u{a0}\u{2009}⋅\u{2010}-\u{2015}\u{2212}\u{fe58}\u{fe63}]",
        )
    });
    let text = narrow(bare(text));
    let text = FONT.replace_all(&text, "$1");
    strip(&DRESSED.replace_all(&text, |groups: &Captures<'_>| undressed(&groups[0]))).to_owned()
}

fn undressed(text: &str) -> &'static str {
    match text {
        r"\$" => "$",
        r"\%" => "%",
        "{,}" => ",",
        "。" => ".",
        "’" => "'",
        r"\!" | r"\left" | r"\right" => "",
        r"\;" | r"\:" | r"\ " => " ",
        r"\," | "\u{a0}" | "\u{2009}" => "\u{202f}",
        r"\times" => "×",
        r"\cdot" | "⋅" => "·",
        r"\ast" => "*",
        r"\div" => "÷",
        r"\Omega" => "Ω",
        _ if text.starts_with(r"\mu") => "μ",
        _ if text.starts_with('^') => "°",
        _ => "-", // a hyphen, a dash or a minus sign
    }
}
