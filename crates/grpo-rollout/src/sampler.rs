use grpo_core::Finish;
use rayon::prelude::*;

use crate::{Decoder, Draw, Noise, RolloutError, Sampling};

/// Draws completions of prompts from a [`Decoder`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// How a token is drawn.
    pub sampling: Sampling,
    /// Token ids that end a completion. The stop token is the completion's last token and is trained on.
    pub stop: Vec<u32>,
    /// The most tokens of a completion (TRL's `max_completion_length`).
    pub max_tokens: usize,
    /// The most rows decoded at once: bounds the memory of the cache, never changes a sample.
    pub batch_rows: usize,
}

/// A prompt to be continued once for every noise in `noise`.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The prompt's token ids.
    pub prompt: &'a [u32],
    /// One completion is drawn for each.
    pub noise: &'a [Noise],
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

/// A completion in the making.
struct Row {
    request: usize,
    noise: Noise,
    sample: Sample,
}

impl Sampler {
    /// Draws the completions of every request, in the order of the requests and of their noises.
    pub fn sample<D: Decoder>(
        &self,
        decoder: &D,
        requests: &[Request<'_>],
    ) -> Result<Vec<Vec<Sample>>, RolloutError> {
        self.validate(decoder, requests)?;
        let mut samples: Vec<Vec<Sample>> = requests.iter().map(|_| Vec::new()).collect();
        for batch in batches(requests, self.batch_rows) {
            for row in self.sample_batch(decoder, requests, batch)? {
                samples[row.request].push(row.sample);
            }
        }
        Ok(samples)
    }

    fn validate<D: Decoder>(&self, decoder: &D, requests: &[Request<'_>]) -> Result<(), RolloutError> {
        self.sampling.validate()?;
        for (option, value) in [("max_tokens", self.max_tokens), ("batch_rows", self.batch_rows)] {
            if value == 0 {
                let expected = "it must be at least 1";
                return Err(RolloutError::InvalidOption { option, value: "0".into(), expected });
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

    /// Prefills the distinct prompts of `batch`, fans them out and decodes until every row has ended.
    fn sample_batch<D: Decoder>(
        &self,
        decoder: &D,
        requests: &[Request<'_>],
        batch: Vec<(usize, Noise)>,
    ) -> Result<Vec<Row>, RolloutError> {
        let mut distinct: Vec<usize> = batch.iter().map(|(request, _)| *request).collect();
        distinct.dedup();
        let prompts: Vec<&[u32]> = distinct.iter().map(|i| requests[*i].prompt).collect();
        let (cache, logits) = decoder.prefill(&prompts, self.max_tokens);
        let sources: Vec<usize> = batch
            .iter()
            .map(|(request, _)| distinct.binary_search(request).expect("requests of a batch are in order"))
            .collect();

        let mut rows: Vec<Row> = batch
            .into_iter()
            .map(|(request, noise)| {
                let sample = Sample {
                    tokens: Vec::new(),
                    logprobs: Vec::new(),
                    entropies: Vec::new(),
                    finish: Finish::Length,
                };
                Row { request, noise, sample }
            })
            .collect();
        let mut cache = decoder.select(cache, &sources);
        let mut active: Vec<usize> = (0..rows.len()).collect();
        self.draw(&host(logits), decoder.vocabulary(), &sources, &mut rows, &active)?;
        loop {
            let kept: Vec<usize> =
                (0..active.len()).filter(|i| !self.ended(&mut rows[active[*i]].sample)).collect();
            if kept.is_empty() {
                return Ok(rows);
            }
            if kept.len() < active.len() {
                cache = decoder.select(cache, &kept);
                active = kept.iter().map(|i| active[*i]).collect();
            }
            let last: Vec<u32> =
                active.iter().map(|i| *rows[*i].sample.tokens.last().expect("a row has a token")).collect();
            let logits = host(decoder.decode(&last, &mut cache));
            let own: Vec<usize> = (0..active.len()).collect();
            self.draw(&logits, decoder.vocabulary(), &own, &mut rows, &active)?;
        }
    }

    /// Draws the next token of each active row; row `active[i]` has the logits of row `sources[i]`.
    fn draw(
        &self,
        logits: &[f32],
        vocabulary: usize,
        sources: &[usize],
        rows: &mut [Row],
        active: &[usize],
    ) -> Result<(), RolloutError> {
        let draws: Vec<Option<Draw>> = sources
            .par_iter()
            .zip(active)
            .map(|(source, index)| {
                let Row { noise, sample, .. } = &rows[*index];
                let own = &logits[source * vocabulary..][..vocabulary];
                self.sampling.draw(own, noise.uniform(sample.tokens.len()))
            })
            .collect();
        for (draw, index) in draws.into_iter().zip(active) {
            let Row { request, sample, .. } = &mut rows[*index];
            let token = sample.tokens.len();
            let draw = draw.ok_or(RolloutError::NonFiniteLogits { prompt: *request, token })?;
            sample.tokens.push(draw.token);
            sample.logprobs.push(draw.logprob);
            sample.entropies.push(draw.entropy);
        }
        Ok(())
    }

    /// Whether the completion is over; sets how it ended.
    fn ended(&self, sample: &mut Sample) -> bool {
        let stopped = sample.tokens.last().is_some_and(|token| self.stop.contains(token));
        sample.finish = if stopped { Finish::Stop } else { Finish::Length };
        stopped || sample.tokens.len() == self.max_tokens
    }
}

/// All completions to draw, in order, in batches of at most `size` rows.
fn batches(requests: &[Request<'_>], size: usize) -> Vec<Vec<(usize, Noise)>> {
    let all: Vec<(usize, Noise)> = requests
        .iter()
        .enumerate()
        .flat_map(|(i, request)| request.noise.iter().map(move |noise| (i, *noise)))
        .collect();
    all.chunks(size).map(<[_]>::to_vec).collect()
}

/// Logits `[rows, vocabulary]` as one slice on the host.
fn host(logits: burn::tensor::Tensor<2>) -> Vec<f32> {
    logits.into_data().convert::<f32>().try_into_vec().expect("the data has just been converted to f32")
}
