//! From problems to samples, in training and in evaluations.

use grpo_core::Completion;
use grpo_rollout::{Request, Sample, SampleKey, Sampler, Sampling};

use crate::{Policy, Problem, Text, Trainer, TrainerError};

impl<X: Text, M, O, R, T> Trainer<Policy<X, M, O, R>, T> {
    /// Samples `n` completions of every problem; `step` is part of their keys.
    pub(crate) fn sample(
        &self,
        problems: &[Problem<T>],
        n: usize,
        sampling: &Sampling,
        step: u64,
    ) -> Result<Vec<Vec<Sample>>, TrainerError> {
        let seed = self.config.seed;
        let keys: Vec<Vec<SampleKey>> = problems
            .iter()
            .map(|p| (0..n as u64).map(|sample| SampleKey { seed, step, problem: p.id, sample }).collect())
            .collect();
        let requests: Vec<Request<'_>> =
            problems.iter().zip(&keys).map(|(p, keys)| Request { prompt: &p.prompt, keys }).collect();
        let sampler = Sampler {
            sampling: sampling.clone(),
            stop: self.policy.text.stop().to_vec(),
            max_tokens: self.config.max_completion_length,
            batch_rows: self.config.batch_rows,
        };
        let samples =
            self.policy.rollouts.sample(&self.policy.model, &sampler, &requests).map_err(|cause| {
                let problem = cause.request().and_then(|index| problems.get(index)).map(|problem| problem.id);
                TrainerError::Rollout { problem, cause }
            })?;
        TrainerError::check_count("groups of samples", samples.len(), problems.len())?;
        for group in &samples {
            TrainerError::check_count("samples of a group", group.len(), n)?;
            for Sample { tokens, logprobs, entropies, .. } in group {
                TrainerError::check_count("log-probabilities of a sample", logprobs.len(), tokens.len())?;
                TrainerError::check_count("entropies of a sample", entropies.len(), tokens.len())?;
            }
        }
        Ok(samples)
    }

    /// A sample as rewards see it.
    pub(crate) fn completion(&self, sample: &Sample) -> Completion {
        let text = self.policy.text.decode(&sample.tokens);
        Completion { text, n_tokens: sample.tokens.len(), finish: sample.finish }
    }
}
