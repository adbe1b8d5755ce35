//! One instruction about the form of an answer.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::extract::{is_space, strip};
use crate::keyword::occurrences;
use crate::text::{DOUBLE_QUOTES, fold, regex};

/// An instruction about the form of an answer that a program can check, as in IFEval
/// ([arXiv 2311.07911](https://arxiv.org/abs/2311.07911)).
///
/// Keywords and phrases are compared as a reader compares them: upper and lower case, full and half width,
/// straight and typographic quotes, apostrophes and hyphens, and the kind of whitespace make no difference,
/// nor do the code points that an accented letter is made of. An empty keyword or phrase is a mistake in the
/// truth, and no answer follows it.
///
/// A [quoted](Self::Quoted) answer is checked without its quotes if they would get in the way, so that it can
/// follow the other instructions, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Instruction {
    /// The number of words. Whitespace separates words.
    Words(Quantifier),
    /// The number of sentences. A sentence ends with `.`, `!`, `?` or `…` before whitespace or the end, or
    /// with the equivalent in other scripts, such as `。`, `؟` and `।`. The period of an abbreviation counts as well.
    Sentences(Quantifier),
    /// The number of paragraphs. Empty lines separate them.
    Paragraphs(Quantifier),
    /// The number of bullet points: lines that begin with `*`, `-` or `•` and a space.
    Bullets(Quantifier),
    /// The number of placeholders, such as `[name]`.
    Placeholders(Quantifier),
    /// How often the word or phrase appears as a whole: `art` is not in `party`; `C++` is in `(C++)`, but not
    /// in `C++11`.
    ///
    /// Scripts without spaces between words, such as Chinese, Japanese and Thai, don't show where a word
    /// ends: `苹果` is in `我喜欢苹果`, and `テスト` in `コンテスト`, although that is another word. Korean has
    /// spaces, but attaches particles to a word without one: `사과` is in `사과를` and in `사과나무`, but not in
    /// `풋사과`.
    Keyword {
        /// The word or phrase.
        keyword: String,
        /// How often.
        times: Quantifier,
    },
    /// None of these words and phrases. They are searched for like a [`Keyword`](Self::Keyword).
    Forbidden(Vec<String>),
    /// No capital letter, and at least one lowercase letter.
    Lowercase,
    /// No lowercase letter, and at least one capital letter.
    Uppercase,
    /// No comma of any script: `,`, `،`, `、`, `，` and anything else Unicode calls one. A low quotation mark
    /// (`‚`), a semicolon and a middle dot are not commas.
    NoCommas,
    /// This phrase at the beginning, or right after the double quotes there.
    StartsWith(String),
    /// This phrase at the end, or right before the double quotes there.
    EndsWith(String),
    /// The whole answer in one pair of double quotes: `"…"`, `“…”`, `„…“`, `„…”`, `”…”`, `＂…＂` or `〝…〞`. Marks of
    /// the same kind inside make it several quotes. `«…»`, `「…」` and `'…'` are other quotation marks.
    Quoted,
    /// A title in double angle brackets, such as `<<Half of it>>`.
    Title,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantifier {
    /// This many or more.
    AtLeast(usize),
    /// This many or fewer.
    AtMost(usize),
    /// Exactly this many.
    Exactly(usize),
}

impl Quantifier {
    fn allows(self, n: usize) -> bool {
        match self {
            Self::AtLeast(least) => n >= least,
            Self::AtMost(most) => n <= most,
            Self::Exactly(wanted) => n == wanted,
        }
    }
}

impl Instruction {
    /// Whether `answer` follows the instruction. An answer without any letter or digit follows none.
    pub fn is_followed_by(&self, answer: &str) -> bool {
        let answer = strip(answer);
        has_words(answer) && self.holds(answer)
    }

    fn holds(&self, answer: &str) -> bool {
        let unquoted = answer.trim_matches(|c| is_space(c) || DOUBLE_QUOTES.contains(&c));
        match self {
            Self::Words(n) => n.allows(unquoted.split(is_space).filter(|word| !word.is_empty()).count()),
            Self::Sentences(n) => n.allows(SENTENCE_END.split(answer).filter(|s| has_words(s)).count()),
            Self::Paragraphs(n) => n.allows(EMPTY_LINES.split(unquoted).count()),
            Self::Bullets(n) => n.allows(BULLET.find_iter(unquoted).count()),
            Self::Placeholders(n) => n.allows(PLACEHOLDER.find_iter(answer).count()),
            Self::Keyword { keyword, times } => occurrences(keyword, answer).is_some_and(|n| times.allows(n)),
            Self::Forbidden(keywords) => keywords.iter().all(|word| occurrences(word, answer) == Some(0)),
            Self::Lowercase => {
                answer.chars().any(char::is_lowercase) && !answer.chars().any(char::is_uppercase)
            }
            Self::Uppercase => {
                answer.chars().any(char::is_uppercase) && !answer.chars().any(char::is_lowercase)
            }
            Self::NoCommas => !COMMA.is_match(answer),
            Self::StartsWith(phrase) => at_an_end(phrase, answer, |text, phrase| text.starts_with(phrase)),
            Self::EndsWith(phrase) => at_an_end(phrase, answer, |text, phrase| text.ends_with(phrase)),
            Self::Quoted => QUOTED.is_match(answer),
            Self::Title => TITLE.is_match(answer),
        }
    }
}

static SENTENCE_END: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?x)[.!?…]+ ['"”“’‘»」』＂)\]*]* (?:[\s\x1c-\x1f]+|\z)
        | [\p{Sentence_Terminal}--[.!?．]]+"#,
    )
});
// Some letters are invisible: the Hangul fillers.
static LETTER_OR_DIGIT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"[\p{Alphabetic}\p{N}--\p{Default_Ignorable_Code_Point}]"));
static EMPTY_LINES: LazyLock<Regex> = LazyLock::new(|| regex(r"\n\s*\n"));
static BULLET: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)^[ \t]*[*\-•][ \t]+\S"));
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| regex(r"\[[^\[\]]+\]"));
static QUOTED: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"\A(?:"[^"]+"|“[^“”]+”|„[^„“”]+[“”]|”[^”]+”|＂[^＂]+＂|〝[^〝〞〟]+[〞〟])\z"#));
// The punctuation marks and digits that have COMMA in their Unicode names.
static COMMA: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x)[,\u{55d}\u{60c}\u{7f8}\u{1363}\u{1802}\u{1808}\u{2e32}\u{2e34}\u{2e41}\u{2e49}\u{2e4c}\u{3001}
        \u{a4fe}\u{a60d}\u{a6f5}\u{fe10}\u{fe11}\u{fe50}\u{fe51}\u{ff0c}\u{ff64}\u{1144d}\u{1145a}\u{16e97}
        \u{1da87}\u{1f101}-\u{1f10a}]",
    )
});
static TITLE: LazyLock<Regex> = LazyLock::new(|| regex(r"<<[^<>\n]*[^<>\s][^<>\n]*>>"));

fn has_words(text: &str) -> bool {
    LETTER_OR_DIGIT.is_match(text)
}

fn at_an_end(phrase: &str, text: &str, is_at: impl Fn(&str, &str) -> bool) -> bool {
    let (phrase, text) = (fold(phrase), fold(text));
    let unquoted = text.trim_matches(['"', ' ']);
    !phrase.is_empty() && (is_at(&text, &phrase) || is_at(unquoted, &phrase))
}
