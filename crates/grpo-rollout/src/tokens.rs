//! What a model and its trainer exchange about the tokens of completions.

/// A prompt and its completions, as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptCompletions<'a> {
    /// The prompt; never empty.
    pub prompt: &'a [u32],
    /// The completions.
    pub completions: Vec<&'a [u32]>,
}

/// The log-probability and entropy of every token of a completion.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TokenLogProbs {
    /// `log p(token | prompt, tokens before)` under `softmax(logits / temperature)`, in nats.
    pub logprobs: Vec<f32>,
    /// The entropy of the distribution of the token, in nats.
    pub entropies: Vec<f32>,
}

/// The gradient of a loss with respect to the [`TokenLogProbs`] of a completion.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TokenGradients {
    /// With respect to each log-probability.
    pub logprobs: Vec<f32>,
}

impl TokenGradients {
    /// The gradient of a loss that depends only on log-probabilities.
    pub fn of_logprobs(logprobs: Vec<f32>) -> Self {
        Self { logprobs }
    }
}
