//! What can be wrong with a setting, and what can go wrong in a reward that somebody else wrote.
//!
//! Every message includes its reason, so no error has a `source`: printing the chain would repeat the
//! reason.

use std::time::Duration;

/// A setting that no reward can have.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// The names of a [`Layout`](crate::Layout) do not make valid tags.
    #[error(
        "{reasoning:?} and {answer:?} can't be the names of the tags: give two different ones of ASCII \
         letters, digits, `_` and `-`, without the angle brackets"
    )]
    TagNames {
        /// The name of the reasoning's tags.
        reasoning: String,
        /// The name of the answer's tags.
        answer: String,
    },
    /// A [`Pattern`](crate::Pattern) is not a regular expression.
    #[error("the pattern {pattern:?} is no regular expression of the crate `regex`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tolerance of [`Quantity`](crate::Quantity) is out of range.
    #[error(
        "a tolerance of {absolute} or {relative} times the truth: the absolute one must be 0 or more and \
         finite, the relative one at least 0 and less than 1"
    )]
    Tolerance {
        /// The absolute tolerance.
        absolute: f64,
        /// The tolerance as a share of the truth.
        relative: f64,
    },
    /// [`SoftOverlong`](crate::SoftOverlong) would punish an empty completion.
    #[error(
        "the punishment begins {cache} tokens before {max_tokens}, below 0: make the cache at most \
         {max_tokens}"
    )]
    Overlong {
        /// The length at which the punishment is full.
        max_tokens: usize,
        /// How many tokens before that the punishment begins.
        cache: usize,
    },
    /// [`Repetition`](crate::Repetition) has runs without words, or would pay for repeating.
    #[error(
        "runs of {ngram_size} words at a penalty down to {max_penalty}: runs must have at least one word, \
         and the penalty must be 0 or negative, and finite"
    )]
    Repetition {
        /// Words per run.
        ngram_size: usize,
        /// The penalty for a text that is nothing but repetition.
        max_penalty: f32,
    },
    /// A JSON schema is not valid.
    #[error("the JSON schema is not valid: {reason}")]
    Schema {
        /// What is wrong with it.
        reason: String,
    },
    /// A [`Command`](crate::Command) cannot score.
    #[error("the command `{command}`: {reason}")]
    Command {
        /// The command line.
        command: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A rubric has no part of this name.
    #[error("the rubric has no part `{name}`; it has {}", list(known))]
    NoSuchPart {
        /// The requested name.
        name: String,
        /// The names that the rubric has.
        known: Vec<String>,
    },
    /// An [`Audit`](crate::audit::Audit) without a case would find nothing in any rubric.
    #[error("an audit needs at least one case: give it a few problems with their right completions")]
    NoCases,
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none: add its parts first".to_owned(),
        names => format!("`{}`", names.join("`, `")),
    }
}

/// An error in a reward. (A completion that cannot be graded is not an error: it earns nothing.)
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RewardError {
    /// A reward panicked. The other completions are unharmed, and so is the rubric.
    #[error(
        "reward `{reward}` panicked ({message}) on {}: make it return 0.0 for a text that it cannot grade",
        subject(completion.as_deref())
    )]
    Panicked {
        /// The name of the reward in its rubric.
        reward: String,
        /// What it panicked with.
        message: String,
        /// The whole text that it was given; none if it was a group.
        completion: Option<String>,
    },
    /// A reward took longer than the rubric allows.
    #[error(
        "reward `{reward}` was still at work after {limit:?} on {}: let it give 0.0 where it takes too many steps, or raise \
         the limit",
        subject(completion.as_deref())
    )]
    TimedOut {
        /// The name of the reward in its rubric.
        reward: String,
        /// The limit.
        limit: Duration,
        /// The whole text that it was given; none if it was a group.
        completion: Option<String>,
    },
    /// A reward says that it cannot score.
    #[error("reward `{reward}` failed: {message}")]
    Failed {
        /// The name of the reward in its rubric.
        reward: String,
        /// What it says.
        message: String,
    },
    /// A reward is NaN or infinite, or becomes so through its weight or in the sum. One such number would ruin
    /// the advantages of the whole group.
    #[error(
        "reward `{reward}` gave {value}, times its weight {weight}, for the completion {}: the sum must be \
         finite; look for a division by zero in the reward, and at its weight",
        excerpt(completion)
    )]
    NotFinite {
        /// The name of the reward in its rubric.
        reward: String,
        /// What it returned.
        value: f32,
        /// Its weight in the rubric.
        weight: f32,
        /// The whole text that it was given.
        completion: String,
    },
}

fn subject(completion: Option<&str>) -> String {
    completion.map_or("a group of completions".to_owned(), |text| format!("the completion {}", excerpt(text)))
}

/// The text in quotes, with line breaks escaped, and with its middle left out if it would fill the screen.
pub(crate) fn excerpt(text: &str) -> String {
    match ends(text) {
        Some((head, tail)) => format!("{head:?} … {tail:?} ({} bytes in all)", text.len()),
        None => format!("{text:?}"),
    }
}

/// The two ends of a text that is too long to show.
pub(crate) fn ends(text: &str) -> Option<(&str, &str)> {
    const LENGTH: usize = 100; // characters of each
    let (head, _) = text.char_indices().nth(LENGTH)?;
    let (tail, _) = text.char_indices().nth_back(LENGTH - 1)?;
    (head < tail).then(|| (&text[..head], &text[tail..]))
}
