//! What can go wrong with a reward that somebody else wrote.

/// A mistake in a reward. (A completion that cannot be graded is none: it earns nothing.)
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RewardError {
    /// A reward panicked. The other completions are unharmed, and so is the rubric.
    #[error(
        "reward `{reward}` panicked ({message}) on the completion {}: make it return 0.0 for a text that it \
         cannot grade",
        excerpt(completion)
    )]
    Panicked {
        /// The name of the reward in its rubric.
        reward: String,
        /// What it panicked with.
        message: String,
        /// The whole text that it was given.
        completion: String,
    },
    /// A reward is NaN or infinite, or becomes so by its weight or in the sum. One such number would spoil
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

/// The text in quotes, with line breaks escaped, and cut where it would fill the screen.
fn excerpt(text: &str) -> String {
    const LIMIT: usize = 200; // characters
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{:?}… ({} bytes in all)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}
