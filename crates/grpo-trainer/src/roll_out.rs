//! The first half of a step: from problems to experiences.

use std::time::{Duration, Instant};

use grpo_core::{Advantage, Completion};
use grpo_rollout::{Noise, Request, RolloutError, Sample, Sampler};

use crate::micro_batch::micro_batches;
use crate::{Experience, Experiences, Group, Policy, Problem, Trainer, TrainerError};

impl<P: Policy, T> Trainer<P, T> {
    /// Samples a group of completions for every problem, scores them, and compares each with its group.
    pub fn roll_out(&self, problems: &[Problem<T>]) -> Result<Experiences, TrainerError> {
        self.roll_out_dynamic(problems, |_| Ok(Vec::new()))
    }

    /// Like [`roll_out`](Self::roll_out), but a group without a signal, whose completions all earned the same, gives way to that
    /// of another problem (dynamic sampling, DAPO 3.2).
    ///
    /// `others` is asked for as many problems as there are such groups, at most
    /// [`max_redraws`](crate::TrainerConfig::max_redraws) times. Of what is drawn for them only groups with a signal are
    /// kept; where there are too few, or no more problems, groups without one stay. The problems should be none that the
    /// step has met: the same problem gets the same completions.
    #[tracing::instrument(skip_all, fields(step = self.progress.step + 1))]
    pub fn roll_out_dynamic<E: From<TrainerError>>(
        &self,
        problems: &[Problem<T>],
        mut others: impl FnMut(usize) -> Result<Vec<Problem<T>>, E>,
    ) -> Result<Experiences, E> {
        if problems.is_empty() {
            return Err(TrainerError::NoProblems.into());
        }
        let mut experiences = self.draw(problems)?;
        for _ in 0..self.config.max_redraws {
            let flat: Vec<usize> =
                (0..problems.len()).filter(|i| !self.differs(&experiences.groups[*i])).collect();
            if flat.is_empty() {
                break;
            }
            let others = others(flat.len())?;
            if others.is_empty() {
                break;
            }
            let drawn = self.draw(&others)?;
            experiences.generate_time += drawn.generate_time;
            experiences.reward_time += drawn.reward_time;
            experiences.sampled_tokens += drawn.sampled_tokens;
            experiences.seen_tokens += drawn.seen_tokens;
            experiences.redrawn += drawn.groups.len();
            let kept = drawn.groups.into_iter().filter(|group| self.differs(group));
            for (i, group) in flat.into_iter().zip(kept) {
                experiences.groups[i] = group;
            }
        }
        self.compare(&mut experiences.groups);
        let start = Instant::now();
        if self.config.objective.needs_reference() {
            self.add_reference(&mut experiences.groups);
        }
        experiences.reference_time = start.elapsed();
        Ok(experiences)
    }

    /// Samples and scores a group for every problem.
    fn draw(&self, problems: &[Problem<T>]) -> Result<Experiences, TrainerError> {
        let start = Instant::now();
        let samples = self.sample(problems)?;
        let generate_time = start.elapsed();
        let start = Instant::now();
        let groups = problems
            .iter()
            .zip(samples)
            .map(|(problem, samples)| self.score(problem, samples))
            .collect::<Result<Vec<Group>, _>>()?;
        let reward_time = start.elapsed();
        let of_group =
            |group: &Group| -> usize { group.experiences.iter().map(|e| e.sample.tokens.len()).sum() };
        let sampled: usize = groups.iter().map(of_group).sum();
        let prompts: usize = groups.iter().map(|group| group.prompt.len() * group.experiences.len()).sum();
        Ok(Experiences {
            groups,
            redrawn: 0,
            sampled_tokens: sampled as u64,
            seen_tokens: (sampled + prompts) as u64,
            generate_time,
            reward_time,
            reference_time: Duration::ZERO,
        })
    }

    fn sample(&self, problems: &[Problem<T>]) -> Result<Vec<Vec<Sample>>, TrainerError> {
        let noise: Vec<Vec<Noise>> = problems
            .iter()
            .map(|problem| {
                let key = |sample| Noise {
                    seed: self.config.seed,
                    step: self.progress.step,
                    problem: problem.id,
                    sample,
                };
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

    fn score(&self, problem: &Problem<T>, samples: Vec<Sample>) -> Result<Group, TrainerError> {
        let completions: Vec<Completion> = samples.iter().map(|sample| self.completion(sample)).collect();
        let scores = self.rubric.score_group(&problem.truth, &completions)?;
        let experiences = samples
            .into_iter()
            .zip(completions)
            .zip(scores)
            .map(|((sample, completion), scores)| Experience {
                sample,
                completion,
                scores,
                advantage: 0.0,
                reference: Vec::new(),
            })
            .collect();
        Ok(Group { problem: problem.id, prompt: problem.prompt.clone(), experiences })
    }

    pub(crate) fn completion(&self, sample: &Sample) -> Completion {
        let text = self.policy.detokenize(&sample.tokens);
        Completion { text, n_tokens: sample.tokens.len(), finish: sample.finish }
    }

    /// The reward of each completion that it is compared by.
    fn rewards(&self, group: &Group) -> Vec<f32> {
        let weights: Vec<f32> = self.rubric.weights().collect();
        let paid: Vec<Vec<f32>> = group.experiences.iter().map(|e| e.scores.paid.clone()).collect();
        self.config.aggregation.of_group(&weights, &paid)
    }

    /// Whether a completion of the group did better than another.
    fn differs(&self, group: &Group) -> bool {
        Advantage::Centered.of_group(&self.rewards(group)).iter().any(|advantage| *advantage != 0.0)
    }

    fn compare(&self, groups: &mut [Group]) {
        let rewards: Vec<Vec<f32>> = groups.iter().map(|group| self.rewards(group)).collect();
        for (group, advantages) in groups.iter_mut().zip(self.config.advantage.of_step(&rewards)) {
            for (experience, advantage) in group.experiences.iter_mut().zip(advantages) {
                experience.advantage = advantage;
            }
        }
    }

    fn add_reference(&self, groups: &mut [Group]) {
        let temperature = self.config.sampling.temperature;
        let mut references = Vec::new();
        for batch in micro_batches(groups, self.config.micro_batch_tokens, |_, e| self.config.trains_on(e)) {
            let scores = batch.packed(|groups| self.policy.reference(groups, temperature));
            references.extend(batch.members().map(|member| member.index).zip(scores));
        }
        let mut experiences: Vec<&mut Experience> =
            groups.iter_mut().flat_map(|group| &mut group.experiences).collect();
        for (index, scores) in references {
            experiences[index].reference = scores.logprobs;
        }
    }
}

/// Names the problem that a rollout failed at.
pub(crate) fn at_problem<T>(cause: RolloutError, problems: &[Problem<T>]) -> TrainerError {
    let problem = cause.request().and_then(|index| problems.get(index)).map(|problem| problem.id);
    TrainerError::Rollout { problem, cause }
}
