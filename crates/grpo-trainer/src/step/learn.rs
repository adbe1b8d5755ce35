//! The second half of a step: from experiences to new weights.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::StreamId;
use grpo_core::CompletionLoss;
use grpo_rollout::{SamplerKind, TokenLogProbs};
use serde::{Deserialize, Serialize};

use super::ahead::{Ahead, correction};
use super::observed::{Observed, UpdateResult};
use super::sample::Wanted;
use super::targets::{MicroBatch, TOLERANCE, double};
use crate::trainer::Progress;
use crate::{
    Collective, Experiences, InvalidOption, Metrics, Model, Optimizer, Policy, Problem, Reference, Text,
    Trainer, TrainerConfig, TrainerError,
};

/// The loss of a step, its gradient, and what both are computed from.
struct StepLoss<G> {
    loss: f64,
    gradients: G,
    /// Every completion that was passed through the model, in the order of the micro-batches.
    completions: Vec<(TokenLogProbs, CompletionLoss)>,
}

/// What a process has computed of a loss.
#[derive(Serialize, Deserialize)]
struct Share {
    loss: f64,
    has_gradient: bool,
    /// Every completion that it has passed through the model, in the order of the micro-batches.
    completions: Vec<(TokenLogProbs, CompletionLoss)>,
}

/// What an update changes, apart from what samples meanwhile.
struct Learner<'a, M, O> {
    config: &'a TrainerConfig,
    collective: &'a dyn Collective,
    progress: &'a Progress,
    /// What has sampled, how many steps ago.
    kind: SamplerKind,
    lag: u64,
    model: &'a mut M,
    optimizer: &'a mut O,
}

impl<X, M: Model, O: Optimizer<M>, R: Reference<M>, T> Trainer<Policy<X, M, O, R>, T> {
    /// Updates the policy on the result of a rollout, `updates` times.
    ///
    /// An update whose loss or gradient is not finite changes no weights and ends the step, which counts as skipped; ten
    /// skipped steps in a row are an error.
    #[tracing::instrument(skip_all, fields(step = self.progress.step + 1))]
    pub fn learn(&mut self, experiences: &Experiences) -> Result<Metrics, TrainerError> {
        let Self { policy: Policy { model, rollouts, optimizer, .. }, config, progress, collective, .. } =
            self;
        let (kind, lag) = (rollouts.sampler_kind(), experiences.lag);
        let mut batches = config.targets(experiences, correction(kind, lag), collective.size());
        let mut learner =
            Learner { config, collective: &**collective, progress, kind, lag, model, optimizer };
        let updates = learner.update(&mut batches);
        self.advance(experiences, &batches, updates)
    }

    /// Like [`learn`](Self::learn), but meanwhile the policy as it was before this update samples the completions of the next step.
    /// `next` must be the problems that the next rollout is given. That rollout is one step behind ([`Experiences::lag`]), and the
    /// loss corrects for it.
    ///
    /// If sampling fails, the next rollout samples for itself.
    #[tracing::instrument(skip_all, fields(step = self.progress.step + 1))]
    pub fn learn_and_sample(
        &mut self,
        experiences: &Experiences,
        next: &[Problem<T>],
    ) -> Result<Metrics, TrainerError>
    where
        X: Text,
        M: Clone + Send,
        T: Sync,
    {
        if self.config.lag == 0 {
            let expected = "it must be 1: the next step is to be sampled ahead";
            return Err(InvalidOption::new("lag", 0, expected).into());
        }
        let Self {
            policy: Policy { text, model, rollouts, optimizer, .. },
            config,
            progress,
            collective,
            ..
        } = self;
        let (kind, lag) = (rollouts.sampler_kind(), experiences.lag);
        let mut batches = config.targets(experiences, correction(kind, lag), collective.size());
        let (stop, sampled_from) = (text.stop(), model.clone());
        let (config, rollouts, n) = (&*config, &*rollouts, config.group_size);
        let mut learner =
            Learner { config, collective: &**collective, progress, kind, lag, model, optimizer };
        let share = collective.samples(next.len() * n, kind);
        let wanted = Wanted { problems: next, n, sampling: &config.sampling, step: progress.step + 1, share };
        let sample = move || {
            let start = Instant::now();
            let sampled = wanted.sample(config, stop, rollouts, &sampled_from);
            sampled.map(|groups| (groups, start.elapsed()))
        };
        // A device has a pool of memory for each stream, and each thread has a stream of its own.
        let stream = StreamId::current();
        let (updates, ahead) = thread::scope(|scope| {
            let sampling = scope.spawn(move || stream.executes(sample));
            let updates = learner.update(&mut batches);
            (updates, sampling.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let metrics = self.advance(experiences, &batches, updates)?;
        let ahead = ahead.inspect_err(|error| tracing::warn!(target: "grpo_trainer::ahead", "{error}; the next step samples for itself"));
        let (groups, generate) = ahead.map_or((None, Duration::ZERO), |(groups, time)| (Some(groups), time));
        let have_sampled = self.collective.concat(Ok(vec![groups.is_some()]))?;
        if let Some(groups) = groups.filter(|_| have_sampled.iter().all(|has_sampled| *has_sampled)) {
            self.ahead = Some(Ahead::new(next, self.collective.concat_groups(Ok(groups), n)?, generate));
        }
        Ok(metrics)
    }

    /// Ends a step with these updates.
    fn advance(
        &mut self,
        experiences: &Experiences,
        batches: &[Vec<MicroBatch<'_>>],
        updates: Result<Vec<UpdateResult>, TrainerError>,
    ) -> Result<Metrics, TrainerError> {
        let is_refused = |error: &TrainerError| matches!(error, TrainerError::Mismatch { .. });
        if updates.as_ref().is_err_and(is_refused) {
            self.policy.rollouts.refuse();
        }
        let observed = Observed::of(batches, &updates?);
        let learning_rate = self.config.learning_rate_of(self.progress.step);
        self.progress.advance(&observed, experiences.tokens.seen)?;
        self.ahead = None;
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
}

impl<M: Model, O: Optimizer<M>> Learner<'_, M, O> {
    /// Updates the weights, `updates` times or until a loss or gradient is not finite.
    fn update(&mut self, batches: &mut [Vec<MicroBatch<'_>>]) -> Result<Vec<UpdateResult>, TrainerError> {
        let learning_rate = self.config.learning_rate_of(self.progress.step);
        let mut updates: Vec<UpdateResult> = Vec::new();
        while updates.len() < self.config.updates && updates.last().is_none_or(UpdateResult::is_finite) {
            let StepLoss { loss, gradients, completions } = self.accumulate(batches)?;
            if updates.is_empty() {
                if self.compares() {
                    compare(batches, &completions)?;
                }
                let targets = batches.iter_mut().flatten().flat_map(|batch| &mut batch.targets);
                targets.zip(&completions).for_each(|(target, (tokens, _))| target.settle(tokens));
            }
            let grad_norm = if loss.is_finite() {
                self.optimizer.update(self.model, gradients, learning_rate, self.config.max_grad_norm)
            } else {
                f64::NAN
            };
            self.collective.agree(grad_norm)?;
            updates.push(UpdateResult { loss, grad_norm, completions });
        }
        Ok(updates)
    }

    /// Whether the sampler's log-probabilities have to be those of the model: in the first step that trains on anything, and in every
    /// step that another process samples for, unless the loss corrects for a difference. Otherwise the policy that is trained may not
    /// be the one that was sampled from.
    fn compares(&self) -> bool {
        let is_trusted = self.progress.sampler_checked && !matches!(self.kind, SamplerKind::Remote { .. });
        !is_trusted && correction(self.kind, self.lag).is_none()
    }

    /// The loss and its gradient over the whole batch, and in several processes the sum of all shares.
    fn accumulate(&self, batches: &[Vec<MicroBatch<'_>>]) -> Result<StepLoss<M::Gradients>, TrainerError> {
        let mut gradients = M::Gradients::default();
        let own = self.accumulate_share(&batches[self.collective.rank()], &mut gradients);
        let shares = self.collective.concat(own.map(|share| vec![share]))?;
        let loss = shares.iter().map(|share| share.loss).sum::<f64>();
        let has_gradient = shares.iter().any(|share| share.has_gradient);
        if self.collective.size() > 1 && loss.is_finite() && has_gradient {
            self.model.all_reduce(&mut gradients, &|values| self.collective.all_reduce(values));
        }
        Ok(StepLoss {
            loss,
            gradients,
            completions: shares.into_iter().flat_map(|share| share.completions).collect(),
        })
    }

    /// Goes through micro-batches and adds to the gradient; once the loss is not finite, no more.
    fn accumulate_share(
        &self,
        batches: &[MicroBatch<'_>],
        gradients: &mut M::Gradients,
    ) -> Result<Share, TrainerError> {
        let objective = &self.config.recipe.objective;
        let mut share = Share { loss: 0.0, has_gradient: false, completions: Vec::new() };
        for MicroBatch { prompts, targets } in batches {
            let (logprobs, pass) = self.model.forward(prompts, self.config.sampling.temperature);
            TrainerError::check_count("completions with log-probabilities", logprobs.len(), targets.len())?;
            let mut slopes = Vec::with_capacity(targets.len());
            for (target, tokens) in targets.iter().zip(logprobs) {
                TrainerError::check_count("entropies", tokens.entropies.len(), tokens.logprobs.len())?;
                let mut loss = target.loss(objective, &double(&tokens.logprobs))?;
                share.loss += target.scale * loss.loss;
                // Nobody needs it any more, and other processes would be sent it.
                slopes.push(target.scaled(&std::mem::take(&mut loss.gradient)));
                share.completions.push((tokens, loss));
            }
            let is_flat = slopes.iter().flat_map(|slopes| &slopes.logprobs).all(|slope| *slope == 0.0);
            if share.loss.is_finite() && !is_flat {
                self.model.backward(pass, &slopes, gradients);
                share.has_gradient = true;
            }
        }
        Ok(share)
    }
}

/// An error unless the log-probabilities of the sampler and of the training pass agree.
fn compare(
    batches: &[Vec<MicroBatch<'_>>],
    completions: &[(TokenLogProbs, CompletionLoss)],
) -> Result<(), TrainerError> {
    let targets = batches.iter().flatten().flat_map(|batch| &batch.targets);
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
