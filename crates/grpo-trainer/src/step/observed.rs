//! What a step records about its updates, for its metrics.

use grpo_core::CompletionLoss;
use grpo_rollout::TokenLogProbs;

use super::targets::{MicroBatch, double};

/// The outcome of an update.
pub(crate) struct UpdateResult {
    pub(crate) loss: f64,
    pub(crate) grad_norm: f64,
    /// Every completion that was passed through the model, in the order of the micro-batches.
    pub(crate) completions: Vec<(TokenLogProbs, CompletionLoss)>,
}

impl UpdateResult {
    pub(crate) fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }
}

/// Sums and lists over all updates of a step.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) losses: Vec<f64>,
    pub(crate) grad_norms: Vec<f64>,
    pub(crate) tokens: usize,
    pub(crate) kl: f64,
    pub(crate) entropy: f64,
    pub(crate) n_ratios: usize,
    pub(crate) clipped_low: usize,
    pub(crate) clipped_high: usize,
    /// One per completion.
    pub(crate) phis: Vec<f64>,
    /// 1 for each completion that was off the policy, 0 for the others.
    pub(crate) off_policy: Vec<f64>,
    /// The distance of the first pass from the sampler, per token.
    pub(crate) distances: Vec<f64>,
    /// The factor that corrects for the sampler, per token.
    pub(crate) corrections: Vec<f64>,
}

impl Observed {
    pub(crate) fn of(batches: &[Vec<MicroBatch<'_>>], updates: &[UpdateResult]) -> Self {
        let mut observed = Self::default();
        let targets = || batches.iter().flatten().flat_map(|batch| &batch.targets);
        let first_pass = updates.iter().take(1).flat_map(|update| &update.completions);
        for (target, (tokens, _)) in targets().zip(first_pass) {
            observed.distances.extend(target.distances(tokens).map(f64::from));
            observed.corrections.extend(target.settled_corrections());
        }
        for UpdateResult { loss, grad_norm, completions } in updates {
            observed.losses.push(*loss);
            observed.grad_norms.push(*grad_norm);
            completions.iter().for_each(|(tokens, loss)| observed.add(tokens, loss));
        }
        observed
    }

    fn add(&mut self, tokens: &TokenLogProbs, loss: &CompletionLoss) {
        self.tokens += tokens.logprobs.len();
        self.entropy += double(&tokens.entropies).iter().sum::<f64>();
        self.kl += loss.kl;
        self.n_ratios += loss.n_ratios;
        self.clipped_low += loss.clipped_low;
        self.clipped_high += loss.clipped_high;
        self.phis.push(loss.phi);
        self.off_policy.push(f64::from(u8::from(loss.off_policy)));
    }

    /// Whether any token's log-probability was compared with the sampler's.
    pub(crate) fn compared(&self) -> bool {
        !self.distances.is_empty()
    }

    /// Whether any token was trained on.
    pub(crate) fn trained(&self) -> bool {
        self.tokens > 0
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.losses.iter().chain(&self.grad_norms).all(|x| x.is_finite())
    }
}
