//! The second half of a step: from experiences to new weights.

use grpo_core::CompletionLoss;
use grpo_rollout::{SamplerKind, TokenLogProbs};

use super::observed::{Observed, UpdateResult};
use super::targets::{MicroBatch, TOLERANCE, double};
use crate::{Experiences, Metrics, Model, Optimizer, Policy, Reference, Trainer, TrainerError};

/// The loss of a step, its gradient, and what both are computed from.
struct StepLoss<G> {
    loss: f64,
    gradients: G,
    /// Every completion that was passed through the model, in the order of the micro-batches.
    completions: Vec<(TokenLogProbs, CompletionLoss)>,
}

impl<X, M: Model, O: Optimizer<M>, R: Reference<M>, T> Trainer<Policy<X, M, O, R>, T> {
    /// Updates the policy on the result of a rollout, `updates` times.
    ///
    /// An update whose loss or gradient is not finite changes no weights and ends the step, which counts as skipped; ten
    /// skipped steps in a row are an error.
    #[tracing::instrument(skip_all, fields(step = self.progress.step + 1))]
    pub fn learn(&mut self, experiences: &Experiences) -> Result<Metrics, TrainerError> {
        let learning_rate = self.config.learning_rate_of(self.progress.step);
        let mut batches = self.config.targets(experiences, self.policy.rollouts.sampler_kind().correction());
        let mut updates: Vec<UpdateResult> = Vec::new();
        while updates.len() < self.config.updates && updates.last().is_none_or(UpdateResult::is_finite) {
            let StepLoss { loss, gradients, completions } = self.accumulate(&batches)?;
            if updates.is_empty() {
                self.check_sampler(&batches, &completions).inspect_err(|_| self.policy.rollouts.refuse())?;
                let targets = batches.iter_mut().flat_map(|batch| &mut batch.targets);
                targets.zip(&completions).for_each(|(target, (tokens, _))| target.settle(tokens));
            }
            let grad_norm = if loss.is_finite() {
                let Policy { model, optimizer, .. } = &mut self.policy;
                optimizer.update(model, gradients, learning_rate, self.config.max_grad_norm)
            } else {
                f64::NAN
            };
            updates.push(UpdateResult { loss, grad_norm, completions });
        }
        let observed = Observed::of(&batches, &updates);
        self.progress.advance(&observed, experiences.tokens.seen)?;
        self.policy.rollouts.follow(&self.policy.model, self.progress.step);
        if let Some(sync) = self.config.reference_sync.filter(|sync| sync.is_due(self.progress.step)) {
            let reference = self.policy.reference.take();
            self.policy.reference = reference.map(|r| r.lerp(&self.policy.model, sync.mixup_alpha));
        }
        let mut metrics = Metrics::new(self, experiences, &observed, learning_rate);
        metrics.diagnoses = self.progress.health.observe(&metrics, &self.config);
        for diagnosis in &metrics.diagnoses {
            tracing::warn!(step = self.progress.step, "{diagnosis}");
        }
        Ok(metrics)
    }

    /// Accumulates the loss and its gradient over the whole batch, micro-batch by micro-batch, until one is not finite.
    fn accumulate(&self, batches: &[MicroBatch<'_>]) -> Result<StepLoss<M::Gradients>, TrainerError> {
        let (model, objective) = (&self.policy.model, &self.config.recipe.objective);
        let mut step = StepLoss { loss: 0.0, gradients: M::Gradients::default(), completions: Vec::new() };
        for MicroBatch { prompts, targets } in batches {
            let (logprobs, pass) = model.forward(prompts, self.config.sampling.temperature);
            TrainerError::check_count("completions with log-probabilities", logprobs.len(), targets.len())?;
            let mut slopes = Vec::with_capacity(targets.len());
            for (target, tokens) in targets.iter().zip(logprobs) {
                TrainerError::check_count("entropies", tokens.entropies.len(), tokens.logprobs.len())?;
                let loss = target.loss(objective, &double(&tokens.logprobs))?;
                step.loss += target.scale * loss.loss;
                slopes.push(target.scaled(&loss.gradient));
                step.completions.push((tokens, loss));
            }
            if !step.loss.is_finite() {
                break;
            }
            if slopes.iter().flat_map(|slopes| &slopes.logprobs).any(|slope| *slope != 0.0) {
                model.backward(pass, &slopes, &mut step.gradients);
            }
        }
        Ok(step)
    }

    /// In the first step that trains on anything, and in every step that another process samples for, the log-probabilities of the
    /// sampler and of the training pass must agree, unless the loss corrects for the difference. Otherwise the policy that is
    /// trained is not the one that was sampled from.
    fn check_sampler(
        &self,
        batches: &[MicroBatch<'_>],
        completions: &[(TokenLogProbs, CompletionLoss)],
    ) -> Result<(), TrainerError> {
        let kind = self.policy.rollouts.sampler_kind();
        let is_trusted = self.progress.sampler_checked && !matches!(kind, SamplerKind::Remote { .. });
        if is_trusted || kind.correction().is_some() {
            return Ok(());
        }
        let targets = batches.iter().flat_map(|batch| &batch.targets);
        for (target, (tokens, _)) in targets.zip(completions) {
            // Not `>=`: a NaN distance must not pass.
            let agrees = |distance: f32| distance < TOLERANCE;
            if let Some(token) = target.distances(tokens).position(|distance| !agrees(distance)) {
                return Err(TrainerError::Mismatch {
                    problem: target.problem,
                    sample: target.index,
                    token,
                    sampler: target.sample.logprobs[token],
                    trainer: tokens.logprobs[token],
                    tolerance: TOLERANCE,
                });
            }
        }
        Ok(())
    }
}
