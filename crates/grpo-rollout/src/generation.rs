use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;

use burn::tensor::Tensor;
use grpo_core::Finish;

use crate::{Decoder, Draw, DrawRequest, Ended, Request, RolloutError, Sample, SampleKey, Sampler};

/// Completions in progress: rows of a cache that are decoded together. When one ends, the next takes its row.
///
/// A completion carries everything that it depends on, so it may share a batch with any others, at any position.
pub(crate) struct Generation<'a, D: Decoder> {
    sampler: &'a Sampler,
    decoder: &'a D,
    /// Requests whose prompts have not been read.
    unread: VecDeque<(usize, Request<'a>)>,
    /// Completions with one token, whose prompts have been read. Those of a prompt are adjacent.
    waiting: VecDeque<Waiting<D::Prompt>>,
    /// The prompt that was read last, if others are to be read.
    known: Option<Rc<D::Prompt>>,
    cache: D::Cache,
    /// Rows of the cache without a completion, the lowest last.
    free: Vec<usize>,
    running: Vec<Running>,
    /// Completions that have ended and have not been handed out.
    ended: Vec<Ended>,
}

struct Waiting<P> {
    completion: Completion,
    prompt: Rc<P>,
}

struct Running {
    completion: Completion,
    /// The row of the cache.
    row: usize,
}

/// A completion so far.
struct Completion {
    /// The index of its request, and its position among that request's completions.
    request: usize,
    index: usize,
    key: SampleKey,
    sample: Sample,
}

impl Completion {
    fn new(request: usize, index: usize, key: SampleKey) -> Self {
        let sample = Sample {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            entropies: Vec::new(),
            finish: Finish::Length,
        };
        Self { request, index, key, sample }
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
    /// Of `requests`, which have at least one key between them.
    pub(crate) fn new(sampler: &'a Sampler, decoder: &'a D, requests: &[Request<'a>]) -> Self {
        let completions: usize = requests.iter().map(|request| request.keys.len()).sum();
        let rows = sampler.batch_rows.min(completions);
        let with_keys = || requests.iter().enumerate().filter(|(_, request)| !request.keys.is_empty());
        let longest = with_keys().map(|(_, request)| request.prompt.len()).max().unwrap_or(0);
        Self {
            sampler,
            decoder,
            unread: with_keys().map(|(i, request)| (i, *request)).collect(),
            waiting: VecDeque::new(),
            known: None,
            cache: decoder.cache(rows, longest + sampler.max_tokens),
            free: (0..rows).rev().collect(),
            running: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Calls `receive` with every completion as soon as it has ended, until it breaks.
    pub(crate) fn run(
        mut self,
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        loop {
            self.join()?;
            let mut enough = false;
            // All that have ended, even if the first of them are enough.
            for ended in self.ended.drain(..) {
                enough |= receive(ended).is_break();
            }
            if enough || self.running.is_empty() {
                return Ok(());
            }
            self.advance()?;
        }
    }

    /// Starts completions in the free rows, as long as there are any.
    fn join(&mut self) -> Result<(), RolloutError> {
        // The first token of a completion may be its last, so reading once may not fill the rows.
        while self.waiting.len() < self.free.len() && !self.unread.is_empty() {
            self.read()?;
        }
        while let Some(prompt) = self.waiting.front().map(|next| next.prompt.clone()) {
            let of_prompt = self.waiting.iter().take_while(|next| Rc::ptr_eq(&next.prompt, &prompt)).count();
            let n = of_prompt.min(self.free.len());
            if n == 0 {
                break;
            }
            let rows: Vec<usize> = self.free.drain(self.free.len() - n..).rev().collect();
            self.decoder.start(&mut self.cache, &rows, &prompt);
            let started = self.waiting.drain(..n).zip(rows);
            self.running.extend(started.map(|(Waiting { completion, .. }, row)| Running { completion, row }));
        }
        Ok(())
    }

    /// Reads as many prompts as the free rows need, together, and draws the first token of each of their completions.
    fn read(&mut self) -> Result<(), RolloutError> {
        let (mut requests, mut completions) = (Vec::new(), self.waiting.len());
        while completions < self.free.len() {
            let Some(next) = self.unread.pop_front() else { break };
            completions += next.1.keys.len();
            requests.push(next);
        }
        let prompts: Vec<&[u32]> = requests.iter().map(|(_, request)| request.prompt).collect();
        let (read, logits) = self.decoder.prefill(&prompts, self.known.as_deref());
        let mut completions = Vec::new();
        for (row, (i, request)) in requests.iter().enumerate() {
            let of_key = |(index, key): (usize, &SampleKey)| (row, Completion::new(*i, index, *key));
            completions.extend(request.keys.iter().enumerate().map(of_key));
        }
        let prompts: Vec<Rc<D::Prompt>> = read.into_iter().map(Rc::new).collect();
        self.known = prompts.last().filter(|_| !self.unread.is_empty()).cloned();
        for (row, completion) in self.draw(logits, completions)? {
            if let Some(completion) = self.unless_ended(completion) {
                self.waiting.push_back(Waiting { completion, prompt: prompts[row].clone() });
            }
        }
        Ok(())
    }

    /// Draws the next token of every running completion.
    fn advance(&mut self) -> Result<(), RolloutError> {
        let last = |running: &Running| {
            *running.completion.sample.tokens.last().expect("a completion that runs has a token")
        };
        let tokens: Vec<u32> = self.running.iter().map(last).collect();
        let rows: Vec<usize> = self.running.iter().map(|running| running.row).collect();
        let logits = self.decoder.decode(&mut self.cache, &rows, &tokens);
        let completions = std::mem::take(&mut self.running).into_iter().map(|running| running.completion);
        for (i, completion) in self.draw(logits, completions.enumerate().collect())? {
            match self.unless_ended(completion) {
                Some(completion) => self.running.push(Running { completion, row: rows[i] }),
                None => self.free.push(rows[i]),
            }
        }
        self.free.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }

    /// Draws a token for each completion from the row of `logits` beside it.
    fn draw(
        &self,
        logits: Tensor<2>,
        completions: Vec<(usize, Completion)>,
    ) -> Result<Vec<(usize, Completion)>, RolloutError> {
        let request = |(row, of): &(usize, Completion)| DrawRequest { row: *row, uniform: of.uniform() };
        let requests: Vec<DrawRequest> = completions.iter().map(request).collect();
        let drawn = self.decoder.draw(logits, &requests, &self.sampler.sampling);
        assert_eq!(drawn.len(), requests.len(), "a decoder draws a token for every request");
        let push = |((row, mut completion), draw): ((usize, Completion), _)| {
            completion.push(draw).map(|()| (row, completion))
        };
        completions.into_iter().zip(drawn).map(push).collect()
    }

    /// The completion, unless its last token has ended it.
    fn unless_ended(&mut self, mut completion: Completion) -> Option<Completion> {
        if !self.sampler.ends(&mut completion.sample) {
            return Some(completion);
        }
        let Completion { request, index, sample, .. } = completion;
        self.ended.push(Ended { request, index, sample });
        None
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
