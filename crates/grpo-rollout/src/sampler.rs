use std::ops::ControlFlow;
use std::sync::Arc;

use crate::{Decoder, Draw, Drawn, Engine, InvalidOption, Job, RolloutError, Sample, SampleKey, Sampling};

/// Draws completions of prompts from a [`Decoder`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// How a token is drawn.
    pub sampling: Sampling,
    /// Token ids that end a completion. The stop token is the completion's last token and is trained on.
    pub stop: Vec<u32>,
    /// The maximum number of tokens in a completion (TRL's `max_completion_length`).
    pub max_tokens: usize,
    /// The maximum number of completions decoded at once: limits the memory of the cache. When one ends, the next takes its row.
    /// It changes no sample, as far as the decoder computes a row independently of the others.
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

/// A completion that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// The index of its request.
    pub request: usize,
    /// The index of its key among those of the request.
    pub index: usize,
    /// The completion.
    pub sample: Sample,
}

impl Sampler {
    /// Draws the completions of every request, in the order of the requests and of their keys.
    pub fn sample<D: Decoder>(
        &self,
        decoder: &D,
        requests: &[Request<'_>],
    ) -> Result<Vec<Vec<Sample>>, RolloutError> {
        in_order(requests, |receive| self.sample_each(decoder, requests, receive))
    }

    /// Draws the completions of every request and calls `receive` with each as soon as it has ended, until it breaks and those that
    /// ended at the same time have been received, too.
    pub fn sample_each<D: Decoder>(
        &self,
        decoder: &D,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        self.check(decoder, requests)?;
        let with_keys = || requests.iter().enumerate().filter(|(_, request)| !request.keys.is_empty());
        let Some(longest) = with_keys().map(|(_, request)| request.prompt.len()).max() else { return Ok(()) };
        let completions: usize = requests.iter().map(|request| request.keys.len()).sum();
        let mut engine = Engine::new(decoder, self.batch_rows.min(completions), longest + self.max_tokens);
        let sampler = Arc::new(self.clone());
        for (id, Request { prompt, keys }) in with_keys() {
            let (prompt, keys) = (prompt.to_vec(), keys.to_vec());
            engine.push(Job { id, prompt, keys, sampler: sampler.clone() });
        }
        let mut samples: Vec<Vec<Sample>> =
            requests.iter().map(|request| vec![Sample::default(); request.keys.len()]).collect();
        let mut enough = false;
        while !enough && !engine.is_idle() {
            // All that have ended, even if the first of them are enough.
            for Drawn { job: request, index, draw, finish } in engine.step(decoder) {
                let sample = &mut samples[request][index];
                let token = sample.tokens.len();
                sample.push(draw.ok_or(RolloutError::NonFiniteLogits { prompt: request, token })?);
                if let Some(finish) = finish {
                    sample.finish = finish;
                    enough |= receive(Ended { request, index, sample: std::mem::take(sample) }).is_break();
                }
            }
        }
        Ok(())
    }

    /// Checks that the options are in their ranges, and that the prompts and their completions fit the decoder.
    pub fn check<D: Decoder>(&self, decoder: &D, requests: &[Request<'_>]) -> Result<(), RolloutError> {
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

impl Sample {
    fn push(&mut self, draw: Draw) {
        self.tokens.push(draw.token);
        self.logprobs.push(draw.logprob);
        self.entropies.push(draw.entropy);
    }
}

/// The completions that `sample_each` hands out, in the order of the requests and of their keys.
pub(crate) fn in_order(
    requests: &[Request<'_>],
    sample_each: impl FnOnce(&mut dyn FnMut(Ended) -> ControlFlow<()>) -> Result<(), RolloutError>,
) -> Result<Vec<Vec<Sample>>, RolloutError> {
    let mut all: Vec<Vec<(usize, Sample)>> = requests.iter().map(|_| Vec::new()).collect();
    sample_each(&mut |Ended { request, index, sample }| {
        if let Some(samples) = all.get_mut(request) {
            samples.push((index, sample));
        }
        ControlFlow::Continue(())
    })?;
    let of_request = |mut samples: Vec<(usize, Sample)>| {
        samples.sort_unstable_by_key(|(index, _)| *index);
        samples.into_iter().map(|(_, sample)| sample).collect()
    };
    Ok(all.into_iter().map(of_request).collect())
}
