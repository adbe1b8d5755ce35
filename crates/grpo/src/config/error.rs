use std::path::PathBuf;

use grpo_rollout::InvalidOption;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// The document is not TOML.
    #[error("{}this is not TOML: {reason}", path.as_ref().map_or(String::new(), |path| format!("{}: ", path.display())))]
    Toml {
        /// The file, if it came from one.
        path: Option<PathBuf>,
        /// The reason.
        reason: String,
    },
    /// The values do not form a valid configuration.
    #[error("the configuration is incomplete: {0}")]
    Incomplete(String),
    /// Not of the form `key=value`.
    #[error("`{0}` is not of the form key=value")]
    NoValue(String),
    /// Unknown key.
    #[error("there is no key `{key}`: {}", nearest.as_ref().map_or("see `grpo config` for all of them".to_string(), |key| format!("did you mean `{key}`?")))]
    UnknownKey {
        /// The key.
        key: String,
        /// The most similar key.
        nearest: Option<String>,
    },
    /// An ambiguous key.
    #[error("`{key}` could be any of {}: write out the full key", candidates.join(", "))]
    AmbiguousKey {
        /// The key.
        key: String,
        /// The keys that match.
        candidates: Vec<String>,
    },
    /// Unknown recipe.
    #[error("there is no recipe `{name}`: choose one of {}", known.join(", "))]
    UnknownRecipe {
        /// The requested name.
        name: String,
        /// All recipes.
        known: Vec<&'static str>,
    },
    /// A value has the wrong type or form.
    #[error("`{key}` is {value}: {reason}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A key is one of a variant that is not chosen.
    #[error("`{key}` has no effect: `{table}.kind` is `{kind}`")]
    NotUsed {
        /// The key.
        key: String,
        /// The choice.
        table: String,
        /// The variant that is chosen.
        kind: String,
    },
    /// A document gives a key two values.
    #[error("`{key}` has two values: remove one")]
    Twice {
        /// The key.
        key: String,
    },
    /// A reward is not one that a run can have.
    #[error("reward `{name}`: {reason}")]
    Reward {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A number is outside its range.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
}
