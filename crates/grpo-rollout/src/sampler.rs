use grpo_core::Finish;

use crate::generation::{Generation, Row};
use crate::{Decoder, InvalidOption, RolloutError, SampleKey, Sampling};

/// Draws completions of prompts from a [`Decoder`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// How a token is drawn.
    pub sampling: Sampling,
    /// Token ids that end a completion. The stop token is the completion's last token and is trained on.
    pub stop: Vec<u32>,
    /// The maximum number of tokens in a completion (TRL's `max_completion_length`).
    pub max_tokens: usize,
    /// The maximum number of rows decoded at once: limits the memory of the cache, and changes nothing but how sums
    /// are rounded.
    pub batch_rows: usize,
}

/// A prompt to continue once for every key.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The prompt's token ids.
    pub prompt: &'a [u32],
    /// One completion is drawn for each key.
    pub keys: &'a [SampleKey],
}

/// A sampled completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The sampled ids; the last is a stop token if and only if `finish` is [`Finish::Stop`].
    pub tokens: Vec<u32>,
    /// The log-probability of each token, over the whole vocabulary (see [`Draw::logprob`]).
    ///
    /// [`Draw::logprob`]: crate::Draw::logprob
    pub logprobs: Vec<f32>,
    /// The entropy of the distribution that each token was drawn from, in nats (see [`Draw::entropy`]).
    ///
    /// [`Draw::entropy`]: crate::Draw::entropy
    pub entropies: Vec<f32>,
    /// Why the completion ended.
    pub finish: Finish,
}

impl Sampler {
    /// Draws the completions of every request, in the order of the requests and of their keys.
    pub fn sample<D: Decoder>(
        &self,
        decoder: &D,
        requests: &[Request<'_>],
    ) -> Result<Vec<Vec<Sample>>, RolloutError> {
        self.validate(decoder, requests)?;
        let mut rows = rows(requests);
        let mut samples: Vec<Vec<Sample>> = requests.iter().map(|_| Vec::new()).collect();
        while !rows.is_empty() {
            let rest = rows.split_off(self.batch_rows.min(rows.len()));
            let mut generation = Generation::new(self, decoder, rows)?;
            while generation.is_running() {
                generation.advance()?;
            }
            for row in generation.into_rows() {
                samples[row.request].push(row.sample);
            }
            rows = rest;
        }
        Ok(samples)
    }

    fn validate<D: Decoder>(&self, decoder: &D, requests: &[Request<'_>]) -> Result<(), RolloutError> {
        self.sampling.validate()?;
        for (option, value) in [("max_tokens", self.max_tokens), ("batch_rows", self.batch_rows)] {
            if value == 0 {
                return Err(InvalidOption::new(option, 0, "it must be at least 1").into());
            }
        }
        let (context, vocabulary) = (decoder.context(), decoder.vocabulary());
        for (prompt, request) in requests.iter().enumerate() {
            let tokens = request.prompt.len();
            if tokens == 0 {
                return Err(RolloutError::EmptyPrompt { prompt });
            }
            if tokens.saturating_add(self.max_tokens) > context {
                let max_tokens = self.max_tokens;
                return Err(RolloutError::PromptTooLong { prompt, tokens, max_tokens, context });
            }
            if let Some(&token) = request.prompt.iter().find(|t| **t as usize >= vocabulary) {
                return Err(RolloutError::UnknownToken { prompt, token, vocabulary });
            }
        }
        Ok(())
    }
}

/// A row for every completion, in order.
fn rows<'a>(requests: &[Request<'a>]) -> Vec<Row<'a>> {
    let row = |(request, Request { prompt, keys }): (usize, &Request<'a>)| {
        let prompt = *prompt;
        keys.iter().map(move |key| Row::new(request, prompt, *key))
    };
    requests.iter().enumerate().flat_map(row).collect()
}
