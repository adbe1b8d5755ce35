//! The second half of a step: from experiences to new weights.

use std::collections::BTreeMap;
use std::time::Instant;

use grpo_core::{CompletionLoss, LogProbs};
use grpo_qwen2::Scores;

use crate::metrics::Observed;
use crate::micro_batch::{Member, MicroBatch, micro_batches};
use crate::{Experience, Experiences, Group, Metrics, Policy, Trainer, TrainerError};

/// The largest difference between the sampler's and the trainer's log-probability of a token that rounding explains.
const TOLERANCE: f32 = 1e-3;
/// Steps skipped in a row after which the run is given up.
const MAX_SKIPPED: usize = 10;

impl<P: Policy, T> Trainer<P, T> {
    /// Updates the policy on what a rollout brought home, `updates` times.
    ///
    /// An update whose loss or gradient is not finite moves nothing and ends the step, which counts as skipped; ten skipped
    /// steps in a row are an error.
    #[tracing::instrument(skip_all, fields(step = self.progress.step + 1))]
    pub fn learn(&mut self, experiences: &Experiences) -> Result<Metrics, TrainerError> {
        let start = Instant::now();
        let schedule =
            self.config.schedule.factor(self.progress.step, self.config.max_steps, self.config.warmup_steps);
        let learning_rate = self.config.learning_rate * schedule;
        let mut observed = Observed::default();
        // Of every completion, where the sampler's log-probabilities are not quite the old policy's.
        let mut old = BTreeMap::new();
        for _ in 0..self.config.updates {
            let accumulated = self.accumulate(experiences, &mut old, &mut observed);
            let grad_norm = match accumulated {
                Ok(loss) if loss.is_finite() => self.policy.update(learning_rate, self.config.max_grad_norm),
                _ => {
                    self.policy.discard();
                    f64::NAN
                }
            };
            observed.end_update(accumulated?, grad_norm);
            if !grad_norm.is_finite() {
                break;
            }
        }
        self.progress.skipped =
            if observed.is_finite() { 0 } else { self.progress.skipped.saturating_add(1) };
        if self.progress.skipped >= MAX_SKIPPED {
            return Err(TrainerError::Diverged { skipped: self.progress.skipped });
        }
        self.progress.sampler_checked |= observed.compared();
        self.progress.step += 1;
        if let Some(sync) =
            self.config.reference_sync.filter(|sync| self.progress.step.is_multiple_of(sync.steps))
        {
            self.policy.mix_reference(sync.mixup_alpha);
        }
        self.progress.num_tokens = self.progress.num_tokens.saturating_add(experiences.seen_tokens);
        let mut metrics = Metrics::new(self, experiences, &observed, learning_rate, start.elapsed());
        metrics.diagnoses =
            self.progress.health.observe(&metrics, observed.trained(), TOLERANCE.into(), &self.config);
        for diagnosis in &metrics.diagnoses {
            tracing::warn!(step = self.progress.step, "{diagnosis}");
        }
        Ok(metrics)
    }

    /// Adds up the loss, which is returned, and its gradient over the whole batch, micro-batch by micro-batch.
    fn accumulate(
        &mut self,
        experiences: &Experiences,
        old: &mut BTreeMap<usize, Vec<f64>>,
        observed: &mut Observed,
    ) -> Result<f64, TrainerError> {
        let trained = |e: &&Experience| self.config.trains_on(e);
        let length = |e: &Experience| if trained(&e) { e.sample.tokens.len() } else { 0 };
        let scales = self.config.objective.scales(&experiences.iter().map(length).collect::<Vec<_>>());
        let entropies = experiences.iter().filter(trained).flat_map(|e| double(&e.sample.entropies));
        let threshold = self.config.objective.entropy_threshold(entropies);
        let needs_reference = self.config.objective.needs_reference();
        // A group without a signal costs no forward and no backward pass.
        let teaches = |group: &Group, experience: &Experience| {
            self.config.trains_on(experience) && (needs_reference || group.has_signal())
        };
        let mut loss = 0.0;
        for batch in micro_batches(&experiences.groups, self.config.micro_batch_tokens, teaches) {
            let temperature = self.config.sampling.temperature;
            let (scores, pass) = batch.packed(|groups| self.policy.forward(groups, temperature));
            if observed.updates() == 0 {
                self.check_sampler(&batch, &scores, observed)?;
            }
            let mut gradient = Vec::with_capacity(scores.len());
            for (Member { experience, index, .. }, scores) in batch.members().zip(&scores) {
                let old = match self.config.narrow_rollouts {
                    true => old.entry(index).or_insert_with(|| double(&scores.logprobs)),
                    false => &mut double(&experience.sample.logprobs),
                };
                let weights = self.weights(experience, old, threshold, observed);
                let term = self.completion_loss(experience, scores, old, &weights)?;
                loss += scales[index] * term.loss;
                observed.add(&term, scores);
                gradient.push(
                    term.gradient.iter().map(|slope| (slope * scales[index]) as f32).collect::<Vec<_>>(),
                );
            }
            if !loss.is_finite() {
                break;
            }
            if gradient.iter().flatten().any(|slope| *slope != 0.0) {
                self.policy.backward(pass, &gradient);
            }
        }
        Ok(loss)
    }

    /// The factor of each token's surrogate: 0 below the `threshold` of entropy, and what corrects for the sampler.
    fn weights(
        &self,
        experience: &Experience,
        old: &[f64],
        threshold: Option<f64>,
        observed: &mut Observed,
    ) -> Vec<f64> {
        let sample = &experience.sample;
        let mut weights = vec![1.0; old.len()];
        if self.config.narrow_rollouts {
            weights = self.config.sampler_correction.weights(old, &double(&sample.logprobs));
            observed.add_corrections(&weights);
        }
        if let Some(threshold) = threshold {
            for (weight, entropy) in weights.iter_mut().zip(&sample.entropies) {
                *weight *= if f64::from(*entropy) >= threshold { 1.0 } else { 0.0 };
            }
        }
        weights
    }

    fn completion_loss(
        &self,
        experience: &Experience,
        scores: &Scores,
        old: &[f64],
        weights: &[f64],
    ) -> Result<CompletionLoss, TrainerError> {
        let (current, reference) = (double(&scores.logprobs), double(&experience.reference));
        let mut logprobs = LogProbs::new(&current, old)?.with_weights(weights)?;
        if self.config.objective.needs_reference() {
            logprobs = logprobs.with_reference(&reference)?;
        }
        Ok(self.config.objective.completion_loss(logprobs, experience.advantage.into())?)
    }

    /// Compares the log-probabilities of the sampler with those of the training pass. In the first step that trains on
    /// anything they must agree, or what is trained is not what was sampled from; but for narrow rollouts, which are corrected
    /// for.
    fn check_sampler(
        &self,
        batch: &MicroBatch<'_>,
        scores: &[Scores],
        observed: &mut Observed,
    ) -> Result<(), TrainerError> {
        for (member, scores) in batch.members().zip(scores) {
            let pairs = member.experience.sample.logprobs.iter().zip(&scores.logprobs).enumerate();
            for (token, (&sampler, &trainer)) in pairs {
                let difference = (sampler - trainer).abs();
                observed.add_difference(difference.into());
                // Not `>=`: a difference that is not a number must not pass.
                let agrees = difference < TOLERANCE;
                if !self.progress.sampler_checked && !agrees && !self.config.narrow_rollouts {
                    let (problem, sample) = (member.group.problem, member.sample);
                    return Err(TrainerError::Mismatch {
                        problem,
                        sample,
                        token,
                        sampler,
                        trainer,
                        tolerance: TOLERANCE,
                    });
                }
            }
        }
        Ok(())
    }
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}
