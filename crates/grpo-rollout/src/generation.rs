use grpo_core::Finish;

use crate::{Decoder, Draw, DrawRequest, RolloutError, Sample, SampleKey, Sampler};

/// Rows that are decoded together. Finished rows leave the batch.
///
/// A row carries everything its completion depends on, so a batch may mix any number of rows, of any requests, at any
/// position.
pub(crate) struct Generation<'a, D: Decoder> {
    sampler: &'a Sampler,
    decoder: &'a D,
    rows: Vec<Row<'a>>,
    /// The indices of the running rows, in the order of the cache.
    running: Vec<usize>,
    /// The keys and values of the running rows; none if no row is running.
    cache: Option<D::Cache>,
}

/// A completion in progress.
pub(crate) struct Row<'a> {
    /// The index of its request.
    pub(crate) request: usize,
    prompt: &'a [u32],
    key: SampleKey,
    pub(crate) sample: Sample,
}

impl<'a> Row<'a> {
    pub(crate) fn new(request: usize, prompt: &'a [u32], key: SampleKey) -> Self {
        let sample = Sample {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            entropies: Vec::new(),
            finish: Finish::Length,
        };
        Self { request, prompt, key, sample }
    }

    /// The uniform number for the next token.
    fn uniform(&self) -> f64 {
        self.key.uniform(self.sample.tokens.len())
    }

    fn push(&mut self, draw: Option<Draw>) -> Result<(), RolloutError> {
        let (prompt, token) = (self.request, self.sample.tokens.len());
        let draw = draw.ok_or(RolloutError::NonFiniteLogits { prompt, token })?;
        self.sample.tokens.push(draw.token);
        self.sample.logprobs.push(draw.logprob);
        self.sample.entropies.push(draw.entropy);
        Ok(())
    }
}

impl<'a, D: Decoder> Generation<'a, D> {
    /// Reads the prompts of `rows`, once per request, and draws the first token of each row. Rows of the same request are
    /// adjacent.
    pub(crate) fn new(
        sampler: &'a Sampler,
        decoder: &'a D,
        mut rows: Vec<Row<'a>>,
    ) -> Result<Self, RolloutError> {
        let (mut prompts, mut sources) = (Vec::new(), Vec::with_capacity(rows.len()));
        for (i, row) in rows.iter().enumerate() {
            if i == 0 || rows[i - 1].request != row.request {
                prompts.push(row.prompt);
            }
            sources.push(prompts.len() - 1);
        }
        let (cache, logits) = decoder.prefill(&prompts, sampler.max_tokens);
        let cache = decoder.select(cache, &sources);
        let draw = |(row, of): (usize, &Row<'_>)| DrawRequest { row, uniform: of.uniform() };
        let draws: Vec<DrawRequest> = sources.into_iter().zip(&rows).map(draw).collect();
        let drawn = decoder.draw(logits, &draws, &sampler.sampling);
        assert_eq!(drawn.len(), rows.len(), "a decoder draws a token for every request");
        rows.iter_mut().zip(drawn).try_for_each(|(row, draw)| row.push(draw))?;
        let running = (0..rows.len()).collect();
        let mut generation = Self { sampler, decoder, rows, running, cache: Some(cache) };
        generation.leave();
        Ok(generation)
    }

    pub(crate) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Draws the next token of every running row.
    pub(crate) fn advance(&mut self) -> Result<(), RolloutError> {
        let Some(cache) = &mut self.cache else { return Ok(()) };
        let last = |i: &usize| *self.rows[*i].sample.tokens.last().expect("a row that runs has a token");
        let tokens: Vec<u32> = self.running.iter().map(last).collect();
        let logits = self.decoder.decode(&tokens, cache);
        let draw = |(row, i): (usize, &usize)| DrawRequest { row, uniform: self.rows[*i].uniform() };
        let draws: Vec<DrawRequest> = self.running.iter().enumerate().map(draw).collect();
        let drawn = self.decoder.draw(logits, &draws, &self.sampler.sampling);
        assert_eq!(drawn.len(), self.running.len(), "a decoder draws a token for every request");
        self.running.iter().zip(drawn).try_for_each(|(i, draw)| self.rows[*i].push(draw))?;
        self.leave();
        Ok(())
    }

    pub(crate) fn into_rows(self) -> Vec<Row<'a>> {
        self.rows
    }

    /// Removes finished rows from the batch and sets how their completions ended.
    fn leave(&mut self) {
        let is_running: Vec<bool> =
            self.running.iter().map(|i| !self.sampler.ends(&mut self.rows[*i].sample)).collect();
        let kept: Vec<usize> = (0..is_running.len()).filter(|row| is_running[*row]).collect();
        if kept.len() < self.running.len() {
            self.running = kept.iter().map(|row| self.running[*row]).collect();
            let cache = self.cache.take().filter(|_| !kept.is_empty());
            self.cache = cache.map(|cache| self.decoder.select(cache, &kept));
        }
    }
}

impl Sampler {
    /// Whether the completion has ended; if so, sets how.
    fn ends(&self, sample: &mut Sample) -> bool {
        let stopped = sample.tokens.last().is_some_and(|token| self.stop.contains(token));
        sample.finish = if stopped { Finish::Stop } else { Finish::Length };
        stopped || sample.tokens.len() == self.max_tokens
    }
}
