use crate::InvalidOption;

/// Why there is no rollout. All but [`NonFiniteLogits`](Self::NonFiniteLogits) are found before the model runs.
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
}

impl RolloutError {
    /// The index of the request that the error is about, if it is about one.
    pub fn request(&self) -> Option<usize> {
        match self {
            Self::InvalidOption(_) => None,
            Self::EmptyPrompt { prompt }
            | Self::PromptTooLong { prompt, .. }
            | Self::UnknownToken { prompt, .. }
            | Self::NonFiniteLogits { prompt, .. } => Some(*prompt),
        }
    }
}
