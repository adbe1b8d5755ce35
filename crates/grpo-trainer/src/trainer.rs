use std::time::Instant;

use grpo_core::Completion;
use grpo_reward::Rubric;
use grpo_rollout::{Noise, Request, RolloutError, Sample, Sampler};

use crate::micro_batch::micro_batches;
use crate::{Experience, Experiences, Group, Metrics, Policy, Problem, TrainerConfig, TrainerError};

/// Trains a policy on problems whose completions a rubric can score.
pub struct Trainer<P, T> {
    pub(crate) policy: P,
    pub(crate) rubric: Rubric<T>,
    pub(crate) config: TrainerConfig,
    /// Steps taken, skipped ones included.
    pub(crate) step: u64,
    /// Tokens of prompts and completions seen.
    pub(crate) num_tokens: u64,
    /// Steps skipped in a row.
    pub(crate) skipped: usize,
    /// Whether the sampler's log-probabilities have been found to be the trainer's.
    pub(crate) sampler_checked: bool,
}

impl<P: Policy, T> Trainer<P, T> {
    /// A trainer of `policy` that pays by `rubric`.
    pub fn new(policy: P, rubric: Rubric<T>, config: TrainerConfig) -> Result<Self, TrainerError> {
        config.validate()?;
        if rubric.is_empty() {
            return Err(TrainerError::NoRewards);
        }
        if config.objective.needs_reference() && !policy.has_reference() {
            return Err(TrainerError::NoReference { beta: config.objective.beta });
        }
        Ok(Self { policy, rubric, config, step: 0, num_tokens: 0, skipped: 0, sampler_checked: false })
    }

    /// One training step: roll out, then learn.
    pub fn step(&mut self, problems: &[Problem<T>]) -> Result<Metrics, TrainerError> {
        let experiences = self.roll_out(problems)?;
        self.learn(&experiences)
    }

    /// Samples a group of completions for every problem, scores them, and compares each with its group.
    #[tracing::instrument(skip_all, fields(step = self.step + 1))]
    pub fn roll_out(&self, problems: &[Problem<T>]) -> Result<Experiences, TrainerError> {
        if problems.is_empty() {
            return Err(TrainerError::NoProblems);
        }
        let start = Instant::now();
        let samples = self.sample(problems)?;
        let generate_time = start.elapsed();

        let start = Instant::now();
        let mut groups = problems
            .iter()
            .zip(samples)
            .map(|(problem, samples)| self.compare(problem, samples))
            .collect::<Result<Vec<Group>, _>>()?;
        let reward_time = start.elapsed();

        let start = Instant::now();
        if self.config.objective.needs_reference() {
            self.add_reference(&mut groups);
        }
        Ok(Experiences { groups, generate_time, reward_time, reference_time: start.elapsed() })
    }

    fn sample(&self, problems: &[Problem<T>]) -> Result<Vec<Vec<Sample>>, TrainerError> {
        let noise: Vec<Vec<Noise>> = problems
            .iter()
            .map(|problem| {
                let key =
                    |sample| Noise { seed: self.config.seed, step: self.step, problem: problem.id, sample };
                (0..self.config.group_size as u64).map(key).collect()
            })
            .collect();
        let requests: Vec<Request<'_>> = problems
            .iter()
            .zip(&noise)
            .map(|(problem, noise)| Request { prompt: &problem.prompt, noise })
            .collect();
        self.sampler().sample(&self.policy, &requests).map_err(|source| at_problem(source, problems))
    }

    pub(crate) fn sampler(&self) -> Sampler {
        Sampler {
            sampling: self.config.sampling.clone(),
            stop: self.policy.stop().to_vec(),
            max_tokens: self.config.max_completion_length,
            batch_rows: self.config.batch_rows,
        }
    }

    /// Scores the completions of a problem and turns their rewards into advantages.
    fn compare(&self, problem: &Problem<T>, samples: Vec<Sample>) -> Result<Group, TrainerError> {
        let mut experiences = samples
            .into_iter()
            .map(|sample| {
                let completion = self.completion(&sample);
                let scores = self.rubric.score(&problem.truth, &completion)?;
                Ok(Experience { sample, completion, scores, advantage: 0.0, reference: Vec::new() })
            })
            .collect::<Result<Vec<_>, TrainerError>>()?;
        let rewards: Vec<f32> = experiences.iter().map(|e| e.scores.total).collect();
        for (experience, advantage) in experiences.iter_mut().zip(self.config.advantage.of_group(&rewards)) {
            experience.advantage = advantage;
        }
        Ok(Group { problem: problem.id, prompt: problem.prompt.clone(), experiences })
    }

    pub(crate) fn completion(&self, sample: &Sample) -> Completion {
        let text = self.policy.detokenize(&sample.tokens);
        Completion { text, n_tokens: sample.tokens.len(), finish: sample.finish }
    }

    fn add_reference(&self, groups: &mut [Group]) {
        let mut references = Vec::new();
        for batch in micro_batches(groups, self.config.micro_batch_tokens, |_| true) {
            let scored =
                batch.packed(|groups| self.policy.reference(groups, self.config.sampling.temperature));
            references.extend(scored.into_iter().map(|scores| scores.logprobs));
        }
        let experiences = groups.iter_mut().flat_map(|group| &mut group.experiences);
        for (experience, reference) in experiences.zip(references) {
            experience.reference = reference;
        }
    }

    /// Steps taken, skipped ones included.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The policy as it is now.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// The numbers of the run.
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// The rewards.
    pub fn rubric(&self) -> &Rubric<T> {
        &self.rubric
    }
}

/// Names the problem that a rollout failed at.
pub(crate) fn at_problem<T>(source: RolloutError, problems: &[Problem<T>]) -> TrainerError {
    let problem = source.request().and_then(|index| problems.get(index)).map(|problem| problem.id);
    TrainerError::Rollout { problem, source }
}
