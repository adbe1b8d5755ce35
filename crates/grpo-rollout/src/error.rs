use std::error::Error;
use std::sync::Arc;

use crate::InvalidOption;

/// Why completions could not be sampled outside this process.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct RemoteError(Arc<dyn Error + Send + Sync>);

impl RemoteError {
    /// The error of the part that samples.
    pub fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// The error, if it is of this type.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }
}

/// Errors that say the same are the same.
impl PartialEq for RemoteError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// Why there is no rollout. All but [`NonFiniteLogits`](Self::NonFiniteLogits) and [`Remote`](Self::Remote) are found before the model
/// runs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RolloutError {
    /// A sampling option is outside its range.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// A prompt has no tokens, so there is nothing to continue.
    #[error("prompt {prompt} is empty: a completion needs at least one token to continue")]
    EmptyPrompt {
        /// Index of the request.
        prompt: usize,
    },
    /// A prompt and its completion do not fit the model's context.
    #[error(
        "prompt {prompt} has {tokens} tokens, which with {max_tokens} new tokens exceeds the model's context of \
         {context}: drop the problem or lower the maximum completion length"
    )]
    PromptTooLong {
        /// Index of the request.
        prompt: usize,
        /// Tokens of the prompt.
        tokens: usize,
        /// The maximum number of tokens in a completion.
        max_tokens: usize,
        /// The model's number of positions.
        context: usize,
    },
    /// The model has no embedding for a token id: the tokenizer belongs to another model.
    #[error(
        "prompt {prompt} holds token id {token}, but the model's vocabulary ends at {vocabulary}: the tokenizer \
         does not fit the model"
    )]
    UnknownToken {
        /// Index of the request.
        prompt: usize,
        /// The offending id.
        token: u32,
        /// Size of the model's vocabulary.
        vocabulary: usize,
    },
    /// The model returned logits that are not finite.
    #[error(
        "the logits of prompt {prompt} are not finite at token {token} of the completion: the weights are damaged \
         or training has diverged"
    )]
    NonFiniteLogits {
        /// Index of the request.
        prompt: usize,
        /// Position in the completion, from 0.
        token: usize,
    },
    /// Completions could not be sampled outside this process.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

impl RolloutError {
    /// The index of the request that the error is about, if it is about one.
    pub fn request(&self) -> Option<usize> {
        match self {
            Self::InvalidOption(_) | Self::Remote(_) => None,
            Self::EmptyPrompt { prompt }
            | Self::PromptTooLong { prompt, .. }
            | Self::UnknownToken { prompt, .. }
            | Self::NonFiniteLogits { prompt, .. } => Some(*prompt),
        }
    }
}
