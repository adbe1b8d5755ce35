//! What the loss of a completion depends on besides the policy: computed once for all updates of a step.

use std::borrow::Cow;

use grpo_core::{CompletionLoss, LogProbs, LogProbsError, Objective, SamplerCorrection};
use grpo_rollout::{PromptCompletions, Sample, TokenGradients, TokenLogProbs};

use super::micro_batches::micro_batches;
use super::shares::shares;
use crate::{Experience, Experiences, Group, Scored, TrainerConfig};

/// The largest distance between the sampler's and the trainer's log-probability of a token that rounding can explain.
pub(crate) const TOLERANCE: f32 = 1e-3;

/// Completions that go through the model together.
pub(crate) struct MicroBatch<'a> {
    pub(crate) prompts: Vec<PromptCompletions<'a>>,
    pub(crate) targets: Vec<Target<'a>>,
}

/// A completion that is trained on.
pub(crate) struct Target<'a> {
    pub(crate) sample: &'a Sample,
    /// The problem's id.
    pub(crate) problem: u64,
    /// The completion's index in its group.
    pub(crate) index: usize,
    /// The factor of its loss in the loss of the step.
    pub(crate) scale: f64,
    /// One per token.
    pub(crate) advantages: Vec<f64>,
    old: Old,
    /// Log-probabilities under the reference; none if there is no KL term.
    reference: Option<Vec<f64>>,
    /// The factor of each token's surrogate, without the correction for the sampler.
    mask: Vec<f64>,
}

/// Log-probabilities under the policy before the first update.
enum Old {
    /// Those of the sampler, which is the policy.
    Sampled(Vec<f64>),
    /// Those of the first pass, which has not run yet: the sampler differs slightly from the policy, and the loss corrects for
    /// it.
    Unknown(SamplerCorrection),
    /// Those of the first pass, and the correction for the sampler.
    FirstPass { logprobs: Vec<f64>, corrections: Vec<f64> },
}

impl TrainerConfig {
    /// The completions that are trained on: the micro-batches of each process.
    pub(crate) fn targets<'a>(
        &self,
        experiences: &'a Experiences,
        correction: Option<SamplerCorrection>,
        processes: usize,
    ) -> Vec<Vec<MicroBatch<'a>>> {
        let objective = &self.recipe.objective;
        let trained = |e: &&Experience| self.trains_on(&e.scored.sample);
        let length = |e: &Experience| if trained(&e) { e.scored.sample.tokens.len() } else { 0 };
        let scales = objective.scales(&experiences.iter().map(length).collect::<Vec<_>>());
        let entropies = experiences.iter().filter(trained).flat_map(|e| double(&e.scored.sample.entropies));
        let threshold = objective.entropy_threshold(entropies);
        let (mut prompts, mut targets, mut scales) = (Vec::new(), Vec::new(), scales.into_iter());
        for group in &experiences.groups {
            // A group without a signal costs no forward and no backward pass.
            let teaches = self.needs_reference() || group.has_signal();
            let scaled = group.completions.iter().zip(scales.by_ref()).enumerate();
            let of_group: Vec<Target<'_>> = scaled
                .filter(|(_, (experience, _))| teaches && trained(experience))
                .map(|(index, (_, scale))| self.target(group, index, scale, threshold, correction))
                .collect();
            let completions = of_group.iter().map(|target| target.sample.tokens.as_slice());
            prompts.push(PromptCompletions { prompt: &group.prompt, completions: completions.collect() });
            targets.extend(of_group);
        }
        let mut targets = targets.into_iter();
        let mut batch = |prompts: Vec<PromptCompletions<'a>>| {
            let n = prompts.iter().map(|prompt| prompt.completions.len()).sum();
            MicroBatch { prompts, targets: targets.by_ref().take(n).collect() }
        };
        let of_process = |share: Vec<PromptCompletions<'a>>| {
            micro_batches(&share, self.micro_batch_tokens).into_iter().map(&mut batch).collect()
        };
        shares(&prompts, processes).into_iter().map(of_process).collect()
    }

    fn target<'a>(
        &self,
        group: &'a Group<Experience>,
        index: usize,
        scale: f64,
        threshold: Option<f64>,
        correction: Option<SamplerCorrection>,
    ) -> Target<'a> {
        let Experience { scored: Scored { sample, .. }, advantage, reference } = &group.completions[index];
        let mask = |least: f64| {
            let above = double(&sample.entropies).into_iter().map(move |entropy| entropy >= least);
            above.map(|above| if above { 1.0 } else { 0.0 }).collect()
        };
        Target {
            sample,
            problem: group.problem,
            index,
            scale,
            advantages: vec![f64::from(*advantage); sample.tokens.len()],
            old: correction.map_or_else(|| Old::Sampled(double(&sample.logprobs)), Old::Unknown),
            reference: self.needs_reference().then(|| double(reference)),
            mask: threshold.map_or_else(|| vec![1.0; sample.tokens.len()], mask),
        }
    }
}

impl Target<'_> {
    /// The loss of the completion and its gradient, under a policy that assigns these log-probabilities to its tokens.
    pub(crate) fn loss(
        &self,
        objective: &Objective,
        current: &[f64],
    ) -> Result<CompletionLoss, LogProbsError> {
        let old = match &self.old {
            Old::Sampled(logprobs) | Old::FirstPass { logprobs, .. } => logprobs,
            Old::Unknown(_) => current,
        };
        let corrected = |ratios: Cow<'_, [f64]>| self.mask.iter().zip(&*ratios).map(|(m, r)| m * r).collect();
        let token_weights: Cow<'_, [f64]> = self.corrections(current).map_or((&self.mask).into(), corrected);
        let logprobs = LogProbs::new(current, old)?.with_token_weights(&token_weights)?;
        let logprobs = match &self.reference {
            Some(reference) => logprobs.with_reference(reference)?,
            None => logprobs,
        };
        objective.completion_loss(logprobs, &self.advantages)
    }

    /// The correction for the sampler, per token; none if the sampler is the policy. `current` is only read in the first pass.
    fn corrections(&self, current: &[f64]) -> Option<Cow<'_, [f64]>> {
        match &self.old {
            Old::Sampled(_) => None,
            Old::Unknown(correction) => {
                Some(correction.ratios(current, &double(&self.sample.logprobs)).into())
            }
            Old::FirstPass { corrections, .. } => Some(corrections.into()),
        }
    }

    /// The correction for the sampler in every update, known after the first pass.
    pub(crate) fn settled_corrections(&self) -> &[f64] {
        if let Old::FirstPass { corrections, .. } = &self.old { corrections } else { &[] }
    }

    /// Stores what the first pass has computed for later updates.
    pub(crate) fn settle(&mut self, first_pass: &TokenLogProbs) {
        let logprobs = double(&first_pass.logprobs);
        if let Some(corrections) = self.corrections(&logprobs).map(Cow::into_owned) {
            self.old = Old::FirstPass { logprobs, corrections };
        }
    }

    /// The distance of the training pass from the sampler, per token, in nats.
    pub(crate) fn distances<'a>(&'a self, tokens: &'a TokenLogProbs) -> impl Iterator<Item = f32> + 'a {
        self.sample.logprobs.iter().zip(&tokens.logprobs).map(|(sampler, trainer)| (sampler - trainer).abs())
    }

    /// The gradient of the step's loss, given the gradient of the completion's loss.
    pub(crate) fn scaled(&self, gradient: &[f64]) -> TokenGradients {
        TokenGradients::of_logprobs(gradient.iter().map(|slope| (slope * self.scale) as f32).collect())
    }
}

pub(crate) fn double(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}
