//! From problems to samples, in training and in evaluations.

use std::ops::{ControlFlow, Range};

use grpo_core::Completion;
use grpo_rollout::{Ended, Request, RolloutError, Sample, SampleKey, Sampler, SamplerKind, Sampling};

use crate::{BoxedRollouts, Collective, Policy, Problem, Text, Trainer, TrainerConfig, TrainerError};

/// Completions to be sampled.
pub(crate) struct Wanted<'a, T> {
    pub(crate) problems: &'a [Problem<T>],
    /// Completions of each.
    pub(crate) n: usize,
    pub(crate) sampling: &'a Sampling,
    /// Part of their keys.
    pub(crate) step: u64,
    /// Which of them, counted over all problems.
    pub(crate) share: Range<usize>,
}

impl<T> Wanted<'_, T> {
    /// Samples them from a model, problem by problem.
    pub(crate) fn sample<M>(
        &self,
        config: &TrainerConfig,
        stop: &[u32],
        rollouts: &BoxedRollouts<M>,
        model: &M,
    ) -> Result<Vec<Vec<Sample>>, TrainerError> {
        if self.share.is_empty() {
            return Ok(Vec::new());
        }
        self.request(config, stop, |sampler, requests| rollouts.sample(model, sampler, requests))
    }

    /// Asks a sampler for them, of which there are some. Completions end at a token of `stop`.
    fn request<S>(
        &self,
        config: &TrainerConfig,
        stop: &[u32],
        sample: impl FnOnce(&Sampler, &[Request<'_>]) -> Result<S, RolloutError>,
    ) -> Result<S, TrainerError> {
        let Self { problems, sampling, step, share, .. } = self;
        // An evaluation may ask for none.
        let n = self.n.max(1);
        let in_share = |i: usize| {
            let of_problem = i * n..(i + 1) * n;
            share.start.max(of_problem.start)..share.end.min(of_problem.end)
        };
        let first = share.start / n;
        let problems = &problems[first.min(problems.len())..problems.len().min(share.end.div_ceil(n))];
        let key = |problem: &Problem<T>, i: usize| {
            let (seed, step, sample) = (config.seed, *step, (i % n) as u64);
            SampleKey { seed, step, problem: problem.id, sample }
        };
        let keys: Vec<Vec<SampleKey>> = problems
            .iter()
            .enumerate()
            .map(|(i, problem)| in_share(first + i).map(|i| key(problem, i)).collect())
            .collect();
        let requests: Vec<Request<'_>> = problems
            .iter()
            .zip(&keys)
            .map(|(problem, keys)| Request { prompt: &problem.prompt, keys })
            .collect();
        let sampler = Sampler {
            sampling: (*sampling).clone(),
            stop: stop.to_vec(),
            max_tokens: config.max_completion_length,
            batch_rows: config.batch_rows,
        };
        sample(&sampler, &requests).map_err(|cause| {
            let problem = cause.request().and_then(|index| problems.get(index)).map(|problem| problem.id);
            TrainerError::Rollout { problem, cause }
        })
    }
}

impl dyn Collective + '_ {
    /// Which of `n` completions this process samples: its share, or all in the first process if servers sample.
    pub(crate) fn samples(&self, n: usize, kind: SamplerKind) -> Range<usize> {
        match (kind, self.rank()) {
            (SamplerKind::Remote { .. }, 0) => 0..n,
            (SamplerKind::Remote { .. }, _) => n..n,
            _ => self.share(n),
        }
    }

    /// The groups of `n` samples to which those of all processes add up.
    pub(crate) fn concat_groups(
        &self,
        groups: Result<Vec<Vec<Sample>>, TrainerError>,
        n: usize,
    ) -> Result<Vec<Vec<Sample>>, TrainerError> {
        if self.size() == 1 {
            return groups;
        }
        let mut samples = self.concat(groups.map(|groups| groups.concat()))?.into_iter();
        let mut joined = Vec::new();
        loop {
            let group: Vec<Sample> = samples.by_ref().take(n).collect();
            if group.is_empty() {
                return Ok(joined);
            }
            joined.push(group);
        }
    }
}

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
        let share = self.collective.samples(problems.len() * n, rollouts.sampler_kind());
        let wanted = Wanted { problems, n, sampling, step, share };
        self.collective.concat_groups(wanted.sample(&self.config, text.stop(), rollouts, model), n)
    }

    /// The same, but calls `receive` with each sample as soon as it has ended, until it breaks; with several processes, as soon as all
    /// have.
    pub(crate) fn sample_each(
        &self,
        problems: &[Problem<T>],
        n: usize,
        sampling: &Sampling,
        step: u64,
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), TrainerError> {
        if self.collective.size() > 1 {
            let groups = self.sample(problems, n, sampling, step)?;
            let ended = |(request, group): (usize, Vec<Sample>)| {
                group.into_iter().enumerate().map(move |(index, sample)| Ended { request, index, sample })
            };
            // It may break when it has enough.
            let _ = groups.into_iter().enumerate().flat_map(ended).try_for_each(receive);
            return Ok(());
        }
        let Policy { text, model, rollouts, .. } = &self.policy;
        let wanted = Wanted { problems, n, sampling, step, share: 0..problems.len() * n };
        wanted.request(&self.config, text.stop(), |sampler, requests| {
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
