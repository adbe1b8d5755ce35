//! From problems to samples, in training and in evaluations.

use std::ops::ControlFlow;

use grpo_core::Completion;
use grpo_rollout::{Ended, Request, RolloutError, Sample, SampleKey, Sampler, Sampling};

use crate::{Policy, Problem, Text, Trainer, TrainerConfig, TrainerError};

impl<X: Text, M, O, R, T> Trainer<Policy<X, M, O, R>, T> {
    /// Samples `n` completions of every problem; `step` is part of their keys.
    pub(crate) fn sample(
        &self,
        problems: &[Problem<T>],
        n: usize,
        sampling: &Sampling,
        step: u64,
    ) -> Result<Vec<Vec<Sample>>, TrainerError> {
        let Policy { text, model, rollouts, .. } = &self.policy;
        self.config.request(text.stop(), problems, n, sampling, step, |sampler, requests| {
            rollouts.sample(model, sampler, requests)
        })
    }

    /// The same, but calls `receive` with each sample as soon as it has ended, until it breaks.
    pub(crate) fn sample_each(
        &self,
        problems: &[Problem<T>],
        n: usize,
        sampling: &Sampling,
        step: u64,
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), TrainerError> {
        let Policy { text, model, rollouts, .. } = &self.policy;
        self.config.request(text.stop(), problems, n, sampling, step, |sampler, requests| {
            rollouts.sample_each(model, sampler, requests, receive)
        })
    }

    /// An error unless there are `n` complete samples of each of some problems.
    pub(crate) fn check_samples(
        &self,
        samples: &[Vec<Sample>],
        problems: usize,
        n: usize,
    ) -> Result<(), TrainerError> {
        let needs_entropies = self.config.recipe.objective.top_entropy_quantile < 1.0;
        TrainerError::check_count("groups of samples", samples.len(), problems)?;
        for group in samples {
            TrainerError::check_count("samples of a group", group.len(), n)?;
            group.iter().try_for_each(|sample| check(sample, needs_entropies))?;
        }
        Ok(())
    }

    /// A sample as rewards see it.
    pub(crate) fn completion(&self, sample: &Sample) -> Completion {
        let text = self.policy.text.decode(&sample.tokens);
        Completion { text, n_tokens: sample.tokens.len(), finish: sample.finish }
    }
}

impl TrainerConfig {
    /// Asks a sampler for `n` completions of every problem, which end at a token of `stop`; `step` is part of their keys.
    pub(crate) fn request<T, S>(
        &self,
        stop: &[u32],
        problems: &[Problem<T>],
        n: usize,
        sampling: &Sampling,
        step: u64,
        sample: impl FnOnce(&Sampler, &[Request<'_>]) -> Result<S, RolloutError>,
    ) -> Result<S, TrainerError> {
        let seed = self.seed;
        let keys: Vec<Vec<SampleKey>> = problems
            .iter()
            .map(|p| (0..n as u64).map(|sample| SampleKey { seed, step, problem: p.id, sample }).collect())
            .collect();
        let requests: Vec<Request<'_>> =
            problems.iter().zip(&keys).map(|(p, keys)| Request { prompt: &p.prompt, keys }).collect();
        let sampler = Sampler {
            sampling: sampling.clone(),
            stop: stop.to_vec(),
            max_tokens: self.max_completion_length,
            batch_rows: self.batch_rows,
        };
        sample(&sampler, &requests).map_err(|cause| {
            let problem = cause.request().and_then(|index| problems.get(index)).map(|problem| problem.id);
            TrainerError::Rollout { problem, cause }
        })
    }
}

/// An error unless a sample has a log-probability for each of its tokens and, unless the sampler tells none and none is needed, an
/// entropy.
fn check(sample: &Sample, needs_entropies: bool) -> Result<(), TrainerError> {
    let Sample { tokens, logprobs, entropies, .. } = sample;
    TrainerError::check_count("log-probabilities of a sample", logprobs.len(), tokens.len())?;
    if needs_entropies || !entropies.is_empty() {
        TrainerError::check_count("entropies of a sample", entropies.len(), tokens.len())?;
    }
    Ok(())
}
