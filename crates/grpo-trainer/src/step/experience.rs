//! What the first half of a step passes to the second.

use std::collections::BTreeMap;

use grpo_core::{Asked, Completion, Message};
use grpo_reward::Scores;
use grpo_rollout::Sample;

/// A prompt and what is true of its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem<T> {
    /// Its index in the data. It is part of the keys of its samples, so a problem that appears twice in one step gets the same
    /// completions twice.
    pub id: u64,
    /// The prompt as token ids.
    pub prompt: Vec<u32>,
    /// The conversation that it was made of, as rewards see it; empty if there is none.
    pub messages: Vec<Message>,
    /// What rewards compare with.
    pub truth: T,
}

impl<T> Problem<T> {
    pub(crate) fn asked(&self) -> Asked<'_, T> {
        Asked { messages: &self.messages, truth: &self.truth }
    }
}

/// A completion with its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The tokens and the log-probabilities they were sampled with.
    pub sample: Sample,
    /// The same as text: what the rewards saw.
    pub completion: Completion,
    /// The result of each reward, and their weighted sum.
    pub scores: Scores,
}

/// A scored completion that has been compared with its group: everything that learning needs to know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Experience {
    /// The completion and its scores.
    pub scored: Scored,
    /// How much better than its group it did: the advantage of each of its tokens.
    pub advantage: f32,
    /// Log-probabilities of its tokens under the reference model; empty if the objective has no KL term, or the completion
    /// is not trained on.
    pub reference: Vec<f32>,
}

/// The completions of one problem.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<C> {
    /// The problem's id.
    pub problem: u64,
    /// Its prompt.
    pub prompt: Vec<u32>,
    /// Its samples: [`Scored`] at first, then [`Experience`].
    pub completions: Vec<C>,
}

impl Group<Experience> {
    /// Whether any completion did better than another.
    pub fn has_signal(&self) -> bool {
        self.completions.iter().any(|experience| experience.advantage != 0.0)
    }
}

/// The result of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiences {
    /// One group per problem, in order. Groups with one outcome may have been replaced by those of other problems.
    pub groups: Vec<Group<Experience>>,
    /// Groups drawn to replace those with one outcome, whether kept or not.
    pub redrawn: usize,
    /// Steps that the policy had taken since it sampled them: 1 after [`Trainer::learn_and_sample`](crate::Trainer::learn_and_sample)
    /// (except groups drawn to replace others, which the current policy samples), otherwise 0.
    pub lag: u64,
    /// Tokens that the rollout took, including those of groups that were not kept.
    pub tokens: RolloutTokens,
    /// By problem, the share of completions that earned more than 0 from the reward that dynamic sampling looks at, also of groups that
    /// were not kept. Without problems on which it abstained.
    pub pass_rates: BTreeMap<u64, f64>,
}

/// Token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolloutTokens {
    /// Sampled.
    pub sampled: u64,
    /// Sampled tokens, plus the prompt's tokens once per completion.
    pub seen: u64,
}

impl RolloutTokens {
    /// The tokens of some groups.
    pub(crate) fn of(groups: &[Group<Scored>]) -> Self {
        let of_group = |group: &Group<Scored>| -> usize {
            group.completions.iter().map(|scored| scored.sample.tokens.len()).sum()
        };
        let sampled: usize = groups.iter().map(of_group).sum();
        let prompts: usize = groups.iter().map(|group| group.prompt.len() * group.completions.len()).sum();
        Self { sampled: sampled as u64, seen: (sampled + prompts) as u64 }
    }
}

impl std::ops::AddAssign for RolloutTokens {
    fn add_assign(&mut self, other: Self) {
        self.sampled += other.sampled;
        self.seen += other.seen;
    }
}

impl Experiences {
    /// All experiences, group by group.
    pub fn iter(&self) -> impl Iterator<Item = &Experience> {
        self.groups.iter().flat_map(|group| &group.completions)
    }
}
