//! The first half of a step: from problems to experiences.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grpo_core::{Asked, Completion};
use grpo_rollout::{PromptCompletions, Sample, TokenLogProbs};

use super::ahead::Ahead;
use super::micro_batches::micro_batches;
use super::shares::shares;
use crate::{
    Experience, Experiences, Group, Policy, Problem, Reference, RolloutTimes, RolloutTokens, Scored, Text,
    Trainer, TrainerError,
};

impl<X: Text, M, O, R: Reference<M>, T: Sync> Trainer<Policy<X, M, O, R>, T> {
    /// Samples a group of completions for every problem, scores them, and compares each with its group.
    pub fn roll_out(&self, problems: &[Problem<T>]) -> Result<(Experiences, RolloutTimes), TrainerError> {
        if self.config.recipe.max_redraws > 0 {
            return Err(TrainerError::NoOtherProblems { max_redraws: self.config.recipe.max_redraws });
        }
        self.roll_out_dynamic(problems, |_| Ok(Vec::new()))
    }

    /// Like [`roll_out`](Self::roll_out), but a group with one outcome, whose completions all earned the same from
    /// [`redraw_reward`](crate::TrainerConfig::redraw_reward), is replaced by the group of another problem (dynamic sampling,
    /// DAPO 3.2).
    ///
    /// `others` is asked for as many problems as there are such groups, at most [`max_redraws`](grpo_core::Recipe::max_redraws)
    /// times. Of the groups drawn for them, only those with several outcomes are kept. If there are too few, or no more problems,
    /// groups with one outcome remain, and their advantages are 0. None of these problems should have occurred in the step
    /// before: the same problem gets the same completions.
    #[tracing::instrument(skip_all, fields(step = self.progress.step + 1))]
    pub fn roll_out_dynamic<E: From<TrainerError>>(
        &self,
        problems: &[Problem<T>],
        mut others: impl FnMut(usize) -> Result<Vec<Problem<T>>, E>,
    ) -> Result<(Experiences, RolloutTimes), E> {
        if problems.is_empty() {
            return Err(TrainerError::NoProblems.into());
        }
        let ahead = self.ahead.as_ref().filter(|ahead| ahead.is_of(problems));
        let (mut groups, mut times) = match ahead {
            Some(Ahead { samples, generate, .. }) => {
                let (groups, times) = self.score(problems, samples.clone(), *generate)?;
                (groups, RolloutTimes { ahead: *generate, ..times })
            }
            None => self.draw_groups(problems)?,
        };
        let lag = u64::from(ahead.is_some());
        let (mut tokens, mut redrawn) = (RolloutTokens::of(&groups), 0);
        let mut pass_rates = self.pass_rates(&groups);
        for _ in 0..self.config.recipe.max_redraws {
            let flat: Vec<usize> = (0..groups.len()).filter(|i| self.has_one_outcome(&groups[*i])).collect();
            if flat.is_empty() {
                break;
            }
            let others = others(flat.len())?;
            if others.is_empty() {
                break;
            }
            let (drawn, of_others) = self.draw_groups(&others)?;
            times += of_others;
            tokens += RolloutTokens::of(&drawn);
            redrawn += drawn.len();
            pass_rates.extend(self.pass_rates(&drawn));
            let kept = drawn.into_iter().filter(|group| !self.has_one_outcome(group));
            for (i, group) in flat.into_iter().zip(kept) {
                groups[i] = group;
            }
        }
        let start = Instant::now();
        let references = tracing::info_span!("reference").in_scope(|| self.references(&groups))?;
        times.reference = start.elapsed();
        let groups = self.compare(groups, references);
        Ok((Experiences { groups, redrawn, lag, tokens, pass_rates }, times))
    }

    /// Samples and scores a group for every problem.
    fn draw_groups(
        &self,
        problems: &[Problem<T>],
    ) -> Result<(Vec<Group<Scored>>, RolloutTimes), TrainerError> {
        let start = Instant::now();
        let samples = tracing::info_span!("generate").in_scope(|| {
            self.sample(problems, self.config.group_size, &self.config.sampling, self.progress.step)
        })?;
        self.score(problems, samples, start.elapsed())
    }

    /// Scores the samples of every problem, which took `generate`.
    #[tracing::instrument(skip_all, name = "reward")]
    fn score(
        &self,
        problems: &[Problem<T>],
        samples: Vec<Vec<Sample>>,
        generate: Duration,
    ) -> Result<(Vec<Group<Scored>>, RolloutTimes), TrainerError> {
        self.check_samples(&samples, problems.len(), self.config.group_size)?;
        let start = Instant::now();
        let completions =
            |samples: &Vec<Sample>| samples.iter().map(|sample| self.completion(sample)).collect();
        let asked: Vec<(Asked<'_, T>, Vec<Completion>)> = problems
            .iter()
            .zip(&samples)
            .map(|(problem, samples)| (problem.asked(), completions(samples)))
            .collect();
        let scores = self.collective.from_first(|| {
            let scores = self.rubric.score_groups(&asked);
            scores.map_err(|(i, cause)| TrainerError::Reward { problem: problems[i].id, cause })
        })?;
        let mut groups = Vec::with_capacity(problems.len());
        for (((problem, samples), (_, completions)), scores) in
            problems.iter().zip(samples).zip(asked).zip(scores)
        {
            let completions = samples.into_iter().zip(completions).zip(scores);
            let scored = |((sample, completion), scores)| Scored { sample, completion, scores };
            let completions = completions.map(scored).collect();
            groups.push(Group { problem: problem.id, prompt: problem.prompt.clone(), completions });
        }
        Ok((groups, RolloutTimes { generate, reward: start.elapsed(), ..RolloutTimes::default() }))
    }

    /// The reward of each completion that it is compared by.
    fn rewards(&self, group: &Group<Scored>) -> Vec<f32> {
        let reward_weights: Vec<f32> = self.rubric.reward_weights().collect();
        let paid: Vec<Vec<f32>> = group.completions.iter().map(|c| c.scores.paid.clone()).collect();
        self.config.recipe.aggregation.of_group(&reward_weights, &paid)
    }

    /// Whether all completions of the group on which the reward that dynamic sampling looks at does not abstain earned the same from it.
    fn has_one_outcome(&self, group: &Group<Scored>) -> bool {
        let mut outcomes = self.outcomes(group);
        let first = outcomes.next();
        outcomes.all(|outcome| Some(outcome) == first)
    }

    /// What the completions earned from the reward that dynamic sampling looks at, without those on which it abstains.
    fn outcomes(&self, group: &Group<Scored>) -> impl Iterator<Item = f32> {
        let outcomes = group.completions.iter().map(|scored| scored.scores.paid[self.redraw_reward]);
        outcomes.filter(|outcome| !outcome.is_nan())
    }

    fn pass_rates(&self, groups: &[Group<Scored>]) -> BTreeMap<u64, f64> {
        let rate = |group: &Group<Scored>| {
            let outcomes: Vec<f32> = self.outcomes(group).collect();
            let passed = outcomes.iter().filter(|outcome| **outcome > 0.0).count();
            (!outcomes.is_empty()).then(|| (group.problem, passed as f64 / outcomes.len() as f64))
        };
        groups.iter().filter_map(rate).collect()
    }

    /// Log-probabilities of the tokens of each completion under the reference model, group by group; empty for completions that
    /// need none.
    fn references(&self, groups: &[Group<Scored>]) -> Result<Vec<Vec<f32>>, TrainerError> {
        let completions = groups.iter().flat_map(|group| &group.completions);
        let Some(reference) = &self.policy.reference else {
            return Ok(completions.map(|_| Vec::new()).collect());
        };
        let trained = |c: &&Scored| self.config.trains_on(&c.sample);
        let prompts: Vec<PromptCompletions<'_>> = groups
            .iter()
            .map(|Group { prompt, completions, .. }| {
                let tokens = completions.iter().filter(trained).map(|c| c.sample.tokens.as_slice());
                PromptCompletions { prompt, completions: tokens.collect() }
            })
            .collect();
        let temperature = self.config.sampling.temperature;
        let own = shares(&prompts, self.collective.size()).swap_remove(self.collective.rank());
        let of_batch = |batch: Vec<PromptCompletions<'_>>| {
            let logprobs = reference.logprobs(&batch, temperature);
            let expected = batch.iter().map(|prompt| prompt.completions.len()).sum();
            TrainerError::check_count(
                "completions with reference log-probabilities",
                logprobs.len(),
                expected,
            )?;
            Ok(logprobs)
        };
        let own = micro_batches(&own, self.config.micro_batch_tokens).into_iter().map(of_batch);
        let own: Result<Vec<Vec<TokenLogProbs>>, TrainerError> = own.collect();
        let mut logprobs = self.collective.concat(own)?.into_iter().flatten();
        let of_completion = |c: &Scored| if trained(&c) { logprobs.next() } else { None };
        let logprobs = completions.map(of_completion).map(|tokens| tokens.map_or(Vec::new(), |t| t.logprobs));
        Ok(logprobs.collect())
    }

    fn compare(&self, groups: Vec<Group<Scored>>, references: Vec<Vec<f32>>) -> Vec<Group<Experience>> {
        let rewards: Vec<Vec<f32>> = groups.iter().map(|group| self.rewards(group)).collect();
        let mut advantages = self.config.recipe.advantage.of_step(&rewards);
        if self.config.recipe.max_redraws > 0 {
            let of_group = groups.iter().zip(&mut advantages);
            of_group
                .filter(|(group, _)| self.has_one_outcome(group))
                .for_each(|(_, of_one)| of_one.fill(0.0));
        }
        let mut references = references.into_iter();
        let compare = |(Group { problem, prompt, completions }, advantages): (Group<Scored>, Vec<f32>)| {
            let completions = completions.into_iter().zip(advantages).zip(references.by_ref());
            let experience = |((scored, advantage), reference)| Experience { scored, advantage, reference };
            Group { problem, prompt, completions: completions.map(experience).collect() }
        };
        groups.into_iter().zip(advantages).map(compare).collect()
    }
}
