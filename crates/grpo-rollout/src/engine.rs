use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use burn::tensor::Tensor;
use grpo_core::Finish;

use crate::{Decoder, Draw, DrawRequest, SampleKey, Sampler, Sampling};

/// A prompt to continue once for every key, and how.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its name, which its tokens bear. No two jobs of an engine have the same.
    pub id: usize,
    /// The prompt's token ids.
    pub prompt: Vec<u32>,
    /// One completion is drawn for each key; there is at least one.
    pub keys: Vec<SampleKey>,
    /// How tokens are drawn and completions end.
    pub sampler: Arc<Sampler>,
}

/// The next token of a completion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// The job.
    pub job: usize,
    /// The index of the completion's key among those of the job.
    pub index: usize,
    /// The token; none if the logits are not finite, which ends the completion.
    pub draw: Option<Draw>,
    /// How the token has ended the completion; none if it continues.
    pub finish: Option<Finish>,
}

/// Completions in progress: rows of a cache that are decoded together. When one ends, the next takes its row; jobs can be added at any
/// time.
///
/// A completion carries everything that it depends on, so it may share a batch with any others, at any position.
pub struct Engine<D: Decoder> {
    /// Jobs whose prompts have not been read.
    unread: VecDeque<Job>,
    /// Completions with one token, whose prompts have been read. Those of a prompt are adjacent.
    waiting: VecDeque<Waiting<D::Prompt>>,
    /// The prompt that was read last, if others are to be read.
    known: Option<Rc<D::Prompt>>,
    cache: D::Cache,
    /// Rows of the cache without a completion, the lowest last.
    free: Vec<usize>,
    running: Vec<Running>,
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
    job: usize,
    index: usize,
    key: SampleKey,
    sampler: Arc<Sampler>,
    /// Its tokens.
    len: usize,
    last: u32,
}

impl Completion {
    /// Counts a token that has been drawn.
    fn push(&mut self, draw: Option<Draw>) -> Drawn {
        let finish = draw.and_then(|draw| {
            (self.last, self.len) = (draw.token, self.len + 1);
            self.sampler.finish(draw.token, self.len)
        });
        Drawn { job: self.job, index: self.index, draw, finish }
    }
}

impl Drawn {
    /// Whether the completion has ended.
    pub fn is_last(&self) -> bool {
        self.draw.is_none() || self.finish.is_some()
    }
}

impl<D: Decoder> Engine<D> {
    /// An engine that decodes at most `rows` completions at once, each with at most `positions` tokens, prompt and completion
    /// together.
    pub fn new(decoder: &D, rows: usize, positions: usize) -> Self {
        Self {
            unread: VecDeque::new(),
            waiting: VecDeque::new(),
            known: None,
            cache: decoder.cache(rows, positions),
            free: (0..rows).rev().collect(),
            running: Vec::new(),
        }
    }

    /// Adds a job.
    ///
    /// Nothing is checked here: the job must fit into the rows and into the decoder's context ([`Sampler::check`]).
    pub fn push(&mut self, job: Job) {
        self.unread.push_back(job);
    }

    /// Drops what is left of a job.
    pub fn cancel(&mut self, job: usize) {
        self.unread.retain(|unread| unread.id != job);
        if self.unread.is_empty() {
            // The next prompt may be read by another decoder.
            self.known = None;
        }
        self.waiting.retain(|waiting| waiting.completion.job != job);
        let (cancelled, running) =
            std::mem::take(&mut self.running).into_iter().partition(|r| r.completion.job == job);
        self.running = running;
        self.release(cancelled);
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.unread.is_empty() && self.waiting.is_empty() && self.running.is_empty()
    }

    /// Draws the next token of every completion that has a row, then gives the free rows to those that wait, whose first tokens are
    /// drawn, too. Returns all new tokens.
    ///
    /// The decoder is the same as in the steps before, unless the engine was idle since.
    pub fn step(&mut self, decoder: &D) -> Vec<Drawn> {
        let mut drawn = self.advance(decoder);
        self.join(decoder, &mut drawn);
        drawn
    }

    /// Starts completions in the free rows, as long as there are any.
    fn join(&mut self, decoder: &D, drawn: &mut Vec<Drawn>) {
        // The first token of a completion may be its last, so reading once may not fill the rows.
        while self.waiting.len() < self.free.len() && !self.unread.is_empty() {
            self.read(decoder, drawn);
        }
        while let Some(prompt) = self.waiting.front().map(|next| next.prompt.clone()) {
            let of_prompt = self.waiting.iter().take_while(|next| Rc::ptr_eq(&next.prompt, &prompt)).count();
            let n = of_prompt.min(self.free.len());
            if n == 0 {
                break;
            }
            let rows: Vec<usize> = self.free.drain(self.free.len() - n..).rev().collect();
            decoder.start(&mut self.cache, &rows, &prompt);
            let started = self.waiting.drain(..n).zip(rows);
            self.running.extend(started.map(|(Waiting { completion, .. }, row)| Running { completion, row }));
        }
    }

    /// Reads as many prompts as the free rows need, together, and draws the first token of each of their completions.
    fn read(&mut self, decoder: &D, drawn: &mut Vec<Drawn>) {
        let (mut jobs, mut completions) = (Vec::new(), self.waiting.len());
        while completions < self.free.len() {
            let Some(next) = self.unread.pop_front() else { break };
            completions += next.keys.len();
            jobs.push(next);
        }
        let prompts: Vec<&[u32]> = jobs.iter().map(|job| job.prompt.as_slice()).collect();
        let (read, logits) = decoder.prefill(&prompts, self.known.as_deref());
        let mut completions = Vec::new();
        for (row, Job { id, keys, sampler, .. }) in jobs.iter().enumerate() {
            completions.extend(keys.iter().enumerate().map(|(index, key)| {
                let sampler = sampler.clone();
                (row, Completion { job: *id, index, key: *key, sampler, len: 0, last: 0 })
            }));
        }
        let prompts: Vec<Rc<D::Prompt>> = read.into_iter().map(Rc::new).collect();
        self.known = prompts.last().filter(|_| !self.unread.is_empty()).cloned();
        for (row, completion, token) in draw(decoder, logits, completions) {
            if !token.is_last() {
                self.waiting.push_back(Waiting { completion, prompt: prompts[row].clone() });
            }
            drawn.push(token);
        }
    }

    /// Draws the next token of every running completion.
    fn advance(&mut self, decoder: &D) -> Vec<Drawn> {
        if self.running.is_empty() {
            return Vec::new();
        }
        let tokens: Vec<u32> = self.running.iter().map(|running| running.completion.last).collect();
        let rows: Vec<usize> = self.running.iter().map(|running| running.row).collect();
        let logits = decoder.decode(&mut self.cache, &rows, &tokens);
        let completions = std::mem::take(&mut self.running).into_iter().map(|running| running.completion);
        let (mut drawn, mut ended) = (Vec::new(), Vec::new());
        for (i, completion, token) in draw(decoder, logits, completions.enumerate().collect()) {
            let running = Running { completion, row: rows[i] };
            if token.is_last() {
                ended.push(running)
            } else {
                self.running.push(running)
            }
            drawn.push(token);
        }
        self.release(ended);
        drawn
    }

    /// Frees the rows of completions that have ended.
    fn release(&mut self, ended: Vec<Running>) {
        self.free.extend(ended.into_iter().map(|running| running.row));
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }
}

/// Draws a token for each completion from the row of `logits` beside it.
fn draw<D: Decoder>(
    decoder: &D,
    logits: Tensor<2>,
    mut completions: Vec<(usize, Completion)>,
) -> Vec<(usize, Completion, Drawn)> {
    let draws = draw_all(decoder, logits, &completions);
    let push = |((row, mut completion), draw): ((usize, Completion), _)| {
        let token = completion.push(draw);
        (row, completion, token)
    };
    completions.drain(..).zip(draws).map(push).collect()
}

/// The tokens, drawn together for those that are drawn in the same way.
fn draw_all<D: Decoder>(
    decoder: &D,
    logits: Tensor<2>,
    completions: &[(usize, Completion)],
) -> Vec<Option<Draw>> {
    let sampling = |i: &usize| -> &Sampling { &completions[*i].1.sampler.sampling };
    let mut draws = vec![None; completions.len()];
    let (mut logits, mut rest) = (Some(logits), (0..completions.len()).collect::<Vec<_>>());
    while let Some(first) = rest.first().map(sampling) {
        let (same, others): (Vec<usize>, Vec<usize>) = rest.iter().partition(|i| sampling(i) == first);
        // The last take the tensor itself, so that nothing is copied if there is but one way.
        let of_same = if others.is_empty() { logits.take() } else { logits.clone() };
        let request = |i: &usize| {
            let (row, Completion { key, len, .. }) = &completions[*i];
            DrawRequest { row: *row, uniform: key.uniform(*len) }
        };
        let requests: Vec<DrawRequest> = same.iter().map(request).collect();
        let drawn = decoder.draw(of_same.expect("it is taken last"), &requests, first);
        assert_eq!(drawn.len(), requests.len(), "a decoder draws a token for every request");
        same.into_iter().zip(drawn).for_each(|(i, draw)| draws[i] = draw);
        rest = others;
    }
    draws
}

impl Sampler {
    /// How a completion of `len` tokens has ended, if it has.
    fn finish(&self, last: u32, len: usize) -> Option<Finish> {
        if self.stop.contains(&last) {
            Some(Finish::Stop)
        } else {
            (len == self.max_tokens).then_some(Finish::Length)
        }
    }
}
