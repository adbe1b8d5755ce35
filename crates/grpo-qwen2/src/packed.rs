//! Packed batches: prompts and the completions that continue them, concatenated without padding. A prompt appears once, however
//! many completions it has; they attend to its keys and values.

use std::ops::Range;

use burn::tensor::Device;
use grpo_kernels::{CausalAttention, Segment};
use grpo_rollout::PromptCompletions;

/// The layout of a packed batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Packed {
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<usize>,
    pub(crate) segments: Vec<Segment>,
    /// For every token of a completion, in the order of prompts, completions and tokens: the position that predicts it.
    pub(crate) predictors: Vec<u32>,
    /// The tokens of the completions.
    pub(crate) targets: Vec<u32>,
    /// The number of tokens of each completion.
    pub(crate) lengths: Vec<usize>,
}

impl Packed {
    pub(crate) fn new(batch: &[PromptCompletions<'_>]) -> Self {
        let mut packed = Self::default();
        for item in batch {
            packed.push(item);
        }
        packed
    }

    fn push(&mut self, PromptCompletions { prompt, completions }: &PromptCompletions<'_>) {
        let shared = self.append(prompt, 0..0, 0);
        for completion in completions {
            self.lengths.push(completion.len());
            let Some((_, inputs)) = completion.split_last() else { continue };
            // The last token is predicted, but predicts no other.
            let own = self.append(inputs, shared.clone(), prompt.len());
            self.predictors.push(shared.end as u32 - 1);
            self.predictors.extend(own.map(|i| i as u32));
            self.targets.extend_from_slice(completion);
        }
    }

    fn append(&mut self, tokens: &[u32], prefix: Range<usize>, position: usize) -> Range<usize> {
        let own = self.tokens.len()..self.tokens.len() + tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend(position..position + tokens.len());
        if !own.is_empty() {
            self.segments.push(Segment { prefix, own: own.clone() });
        }
        own
    }

    /// The last position of every prompt of a batch without completions.
    pub(crate) fn ends(&self) -> Vec<u32> {
        self.segments.iter().map(|s| s.own.end as u32 - 1).collect()
    }

    /// The attention of the batch's tokens.
    pub(crate) fn attention(&self, device: &Device) -> CausalAttention {
        CausalAttention::new(&self.segments, self.tokens.len(), device)
    }

    /// The token range of every segment.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.segments.iter().map(|s| s.own.clone())
    }
}
