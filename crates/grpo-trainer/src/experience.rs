use std::time::Duration;

use grpo_core::Completion;
use grpo_reward::Scores;
use grpo_rollout::Sample;

/// A prompt and what is true of its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem<T> {
    /// Its index in the data: part of the key of its sampling noise, so that a problem that stands twice in one step gets the
    /// same completions twice.
    pub id: u64,
    /// The prompt as token ids.
    pub prompt: Vec<u32>,
    /// What rewards compare with.
    pub truth: T,
}

/// A sampled completion with everything that learning needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Experience {
    /// The tokens and the log-probabilities they were sampled with ("old").
    pub sample: Sample,
    /// The same as text: what the rewards saw.
    pub completion: Completion,
    /// What each reward gave, and their weighted sum.
    pub scores: Scores,
    /// How much better than its group it did.
    pub advantage: f32,
    /// Log-probabilities of its tokens under the reference model; empty if the objective has no KL term, or the completion
    /// is not trained on.
    pub reference: Vec<f32>,
}

/// The completions of one problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The problem's id.
    pub problem: u64,
    /// Its prompt.
    pub prompt: Vec<u32>,
    /// What was sampled for it.
    pub experiences: Vec<Experience>,
}

impl Group {
    /// Whether a completion did better than another.
    pub fn has_signal(&self) -> bool {
        self.experiences.iter().any(|e| e.advantage != 0.0)
    }
}

/// What a rollout brought home.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiences {
    /// One group for every problem, in their order; in the place of some, those of other problems.
    pub groups: Vec<Group>,
    /// Groups drawn in place of those without a signal, kept or not.
    pub redrawn: usize,
    /// Tokens sampled, those of groups that were not kept included.
    pub sampled_tokens: u64,
    /// The same with the prompt's tokens, for every completion.
    pub seen_tokens: u64,
    /// Time spent sampling.
    pub generate_time: Duration,
    /// Time spent scoring completions.
    pub reward_time: Duration,
    /// Time spent on the reference model's log-probabilities.
    pub reference_time: Duration,
}

impl Experiences {
    /// All experiences, group by group.
    pub fn iter(&self) -> impl Iterator<Item = &Experience> {
        self.groups.iter().flat_map(|group| &group.experiences)
    }
}
