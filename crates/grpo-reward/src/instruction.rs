//! One instruction about the form of an answer.

use std::sync::LazyLock;

use regex::Regex;

use crate::extract::{is_space, strip};

/// An instruction about the form of an answer that a program can check, as in IFEval
/// ([arXiv 2311.07911](https://arxiv.org/abs/2311.07911)).
///
/// Upper and lower case of keywords and phrases make no difference. One that is empty is a mistake in the
/// truth, and no answer follows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// So many words. Words are what whitespace separates.
    Words(Quantifier),
    /// So many sentences. A sentence ends with `.`, `!`, `?` or `…` in front of whitespace or the end, or
    /// with `。`, `！` or `？`. An abbreviation's point counts as well.
    Sentences(Quantifier),
    /// So many paragraphs. Empty lines separate them.
    Paragraphs(Quantifier),
    /// So many bullet points: lines that begin with `*`, `-` or `•` and a space.
    Bullets(Quantifier),
    /// So many placeholders, such as `[name]`.
    Placeholders(Quantifier),
    /// The word or phrase so many times. `art` is not in `party`.
    Keyword {
        /// The word or phrase.
        keyword: String,
        /// How often.
        times: Quantifier,
    },
    /// None of these words and phrases.
    Forbidden(Vec<String>),
    /// No capital letter, but a small one.
    Lowercase,
    /// No small letter, but a capital one.
    Uppercase,
    /// No comma.
    NoCommas,
    /// This phrase at the beginning.
    StartsWith(String),
    /// This phrase at the end.
    EndsWith(String),
    /// All of it in double quotes, straight or curly.
    Quoted,
    /// A title in double angle brackets, such as `<<Half of it>>`.
    Title,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantifier {
    /// This many or more.
    AtLeast(usize),
    /// This many or fewer.
    AtMost(usize),
    /// Just as many.
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
    /// Whether `answer` follows the instruction. One without any letter or digit follows none.
    pub fn is_followed_by(&self, answer: &str) -> bool {
        let answer = strip(answer);
        has_words(answer) && self.holds(answer)
    }

    fn holds(&self, answer: &str) -> bool {
        match self {
            Self::Words(n) => n.allows(answer.split(is_space).filter(|word| !word.is_empty()).count()),
            Self::Sentences(n) => n.allows(SENTENCE_END.split(answer).filter(|s| has_words(s)).count()),
            Self::Paragraphs(n) => n.allows(EMPTY_LINES.split(answer).count()),
            Self::Bullets(n) => n.allows(BULLET.find_iter(answer).count()),
            Self::Placeholders(n) => n.allows(PLACEHOLDER.find_iter(answer).count()),
            Self::Keyword { keyword, times } => occurrences(keyword, answer).is_some_and(|n| times.allows(n)),
            Self::Forbidden(keywords) => keywords.iter().all(|word| occurrences(word, answer) == Some(0)),
            Self::Lowercase => {
                answer.chars().any(char::is_lowercase) && !answer.chars().any(char::is_uppercase)
            }
            Self::Uppercase => {
                answer.chars().any(char::is_uppercase) && !answer.chars().any(char::is_lowercase)
            }
            Self::NoCommas => !answer.contains([',', '，', '、']),
            Self::StartsWith(phrase) => phrase_in(phrase, answer, |text, phrase| text.starts_with(phrase)),
            Self::EndsWith(phrase) => phrase_in(phrase, answer, |text, phrase| text.ends_with(phrase)),
            Self::Quoted => QUOTED.is_match(answer),
            Self::Title => TITLE.is_match(answer),
        }
    }
}

static SENTENCE_END: LazyLock<Regex> =
    LazyLock::new(|| regex(r#"[.!?…]+['"”’)\]*]*(?:[\s\x1c-\x1f]+|\z)|[。！？]+"#));
static EMPTY_LINES: LazyLock<Regex> = LazyLock::new(|| regex(r"\n\s*\n"));
static BULLET: LazyLock<Regex> = LazyLock::new(|| regex(r"(?m)^[ \t]*[*\-•][ \t]+\S"));
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| regex(r"\[[^\[\]]+\]"));
static QUOTED: LazyLock<Regex> = LazyLock::new(|| regex(r#"(?s)\A(?:"[^"]+"|“.+”)\z"#));
static TITLE: LazyLock<Regex> = LazyLock::new(|| regex(r"<<[^<>\n]*[^<>\s][^<>\n]*>>"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("it is valid")
}

fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// How often `keyword` stands in `text`, not as a part of a longer word. `None` of an empty keyword.
fn occurrences(keyword: &str, text: &str) -> Option<usize> {
    let (keyword, text) = (strip(keyword).to_lowercase(), text.to_lowercase());
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |start: usize| {
        let (before, after) = (&text[..start], &text[start + keyword.len()..]);
        !before.ends_with(is_word) && !after.starts_with(is_word)
    };
    (!keyword.is_empty()).then(|| text.match_indices(&keyword).filter(|(start, _)| alone(*start)).count())
}

fn phrase_in(phrase: &str, text: &str, is_in: impl Fn(&str, &str) -> bool) -> bool {
    let phrase = strip(phrase).to_lowercase();
    !phrase.is_empty() && is_in(&text.to_lowercase(), &phrase)
}
