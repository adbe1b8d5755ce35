//! Words and phrases in a text.

use std::sync::LazyLock;

use regex::Regex;

use crate::text::{fold, regex};

// `\w` is Unicode's: letters, combining marks, digits and the underscore.
static WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"\w"));
static MARK: LazyLock<Regex> = LazyLock::new(|| regex(r"\p{M}"));
static HANGUL: LazyLock<Regex> = LazyLock::new(|| regex(r"\p{Hangul}"));
// The scripts that Unicode's line breaking (UAX #14) breaks without spaces: classes ID, CJ, SA and AK.
static UNSPACED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x)[\p{Han}〆\p{Hiragana}\p{Katakana}ー\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}
        \p{Ahom}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}\p{Tai_Viet}\p{Balinese}\p{Javanese}]",
    )
});

/// How often `keyword` appears in `text`, other than as part of a longer word. `None` for an empty keyword.
pub(crate) fn occurrences(keyword: &str, text: &str) -> Option<usize> {
    let (keyword, text) = (fold(keyword), fold(text));
    let (first, last) = (keyword.chars().next()?, keyword.chars().next_back()?);
    let alone = |start: usize| {
        // An underscore belongs to the word after it: `_so_` is emphasized, `so_so` is another word.
        let before = text[..start].trim_end_matches('_').chars().next_back();
        let after = &text[start + keyword.len()..];
        let next = after.trim_start_matches('_').chars().next();
        before.is_none_or(|before| may_begin(before, first)) && next.is_none_or(|next| may_end(last, next))
    };
    let (mut n, mut at) = (0, 0);
    while let Some(found) = text[at..].find(&keyword) {
        let start = at + found;
        let counts = alone(start);
        n += usize::from(counts);
        // The next occurrence may overlap with one that doesn't count: `na na` in `bana na na`.
        at = start + if counts { keyword.len() } else { first.len_utf8() };
    }
    Some(n)
}

/// Whether a word that begins with `first` may follow `before`.
fn may_begin(before: char, first: char) -> bool {
    let other_script = is(&HANGUL, before) != is(&HANGUL, first);
    !is(&WORD, before) || is(&UNSPACED, before) || is(&UNSPACED, first) || other_script
}

/// Whether a word that ends with `last` may precede `next`.
///
/// In Korean, particles are attached to a word of any script without a space: `사과를` is the word `사과`.
fn may_end(last: char, next: char) -> bool {
    let part_of_last = is(&MARK, next);
    !part_of_last && (!is(&WORD, next) || is(&UNSPACED, last) || is(&UNSPACED, next) || is(&HANGUL, next))
}

fn is(class: &Regex, c: char) -> bool {
    class.is_match(c.encode_utf8(&mut [0; 4]))
}
