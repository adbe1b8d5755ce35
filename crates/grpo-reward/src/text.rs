//! Different code points that a reader sees as the same text.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use crate::extract::is_space;

/// Double quotation marks: straight, curly, low, wide, and those of vertical Japanese.
pub(crate) const DOUBLE_QUOTES: [char; 9] = ['"', '“', '”', '„', '‟', '＂', '〝', '〞', '〟'];

/// A regular expression that is built into the program.
pub(crate) fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("it is valid")
}

/// The form of `text` in which words and phrases are compared.
///
/// Equal are: canonically equivalent text, upper and lower case (`ß` and `SS` too; Turkish `ı` and `İ`
/// count as `i`, since a text does not tell which `I` it has), full and half width, straight and
/// typographic quotes, apostrophes and hyphens, and any whitespace. Invisible characters, such as a soft
/// hyphen, are removed.
pub(crate) fn fold(text: &str) -> String {
    static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| regex(r"\p{Default_Ignorable_Code_Point}+"));
    let visible = INVISIBLE.replace_all(text, "");
    let text = narrow(&visible);
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).collect();
    // Via the capitals: `ß` and `ẞ` become `ss`, both small sigmas become one.
    let capitals = words.join(" ").to_lowercase().to_uppercase();
    let folded: String = capitals.chars().map(straight).flat_map(char::to_lowercase).collect();
    let folded = folded.replace("i\u{307}", "i");
    folded.nfc().collect()
}

/// `text` with fullwidth and halfwidth forms in their usual width.
pub(crate) fn narrow(text: &str) -> Cow<'_, str> {
    static OTHER_WIDTH: LazyLock<Regex> = LazyLock::new(|| regex(r"[\u{ff00}-\u{ffef}]+"));
    OTHER_WIDTH.replace_all(text, |run: &regex::Captures<'_>| compatible(&run[0]))
}

/// Unicode's normalization form KC: also replaces `²` with `2`, `㎞` with `km` and the micro sign with the letter.
pub(crate) fn compatible(text: &str) -> String {
    text.nfkc().collect()
}

fn straight(c: char) -> char {
    match c {
        '‘' | '’' | 'ʼ' => '\'',
        '‐' | '\u{2011}' => '-', // the hyphen and the non-breaking hyphen
        c if DOUBLE_QUOTES.contains(&c) => '"',
        c => c,
    }
}
