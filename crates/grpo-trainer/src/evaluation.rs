use std::ops::ControlFlow;

use grpo_core::{Completion, mean};
use grpo_reward::Scores;
use grpo_rollout::{Ended, Sampling};

use crate::{Policy, Problem, Proportion, Text, Trainer, TrainerError};

/// The step in the keys of evaluations: one that training never reaches.
pub const EVALUATION_STEP: u64 = u64::MAX;

/// How an evaluation samples.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationOptions {
    /// How completions are drawn: [`Sampling::greedy`], or the policy's own distribution.
    pub sampling: Sampling,
    /// Completions per problem; 1 for greedy.
    pub completions: usize,
}

impl EvaluationOptions {
    /// The most probable completion of each problem.
    pub fn greedy() -> Self {
        Self { sampling: Sampling::greedy(), completions: 1 }
    }

    /// Several completions of each problem at temperature 1.
    pub fn sampled(completions: usize) -> Self {
        Self { sampling: Sampling::default(), completions }
    }
}

/// A policy's results on some problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Mean of the weighted sum of rewards.
    pub reward: f64,
    /// For each reward, by name: the share of completions that earned more than 0.
    pub rewarded: Vec<(String, Proportion)>,
    /// All completions, problem by problem.
    pub answers: Vec<Answer>,
}

/// A completion of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The problem's id.
    pub problem: u64,
    /// The index among the problem's completions.
    pub sample: usize,
    /// The completion as the rewards saw it.
    pub completion: Completion,
    /// What it earned.
    pub scores: Scores,
}

impl Evaluation {
    /// The evaluation of these answers, scored by rewards with these names. Answers on which a reward abstains are left out of its
    /// share.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>, answers: Vec<Answer>) -> Self {
        let rewarded = |(i, name): (usize, &str)| {
            let given = answers.iter().map(|answer| answer.scores.each[i]).filter(|reward| !reward.is_nan());
            let given: Vec<f32> = given.collect();
            let successes = given.iter().filter(|reward| **reward > 0.0).count();
            (name.to_string(), Proportion { successes, trials: given.len() })
        };
        let totals = answers.iter().map(|answer| f64::from(answer.scores.total));
        let totals: Vec<f64> = totals.filter(|total| !total.is_nan()).collect();
        Self {
            // Without those that no reward has scored.
            reward: mean(totals.into_iter()),
            rewarded: names.enumerate().map(rewarded).collect(),
            answers,
        }
    }

    /// The share of completions that earned more than 0 from the reward `name`.
    pub fn share(&self, name: &str) -> Option<Proportion> {
        self.rewarded.iter().find(|(reward, _)| reward == name).map(|(_, share)| *share)
    }
}

impl<X: Text, M, O, R, T> Trainer<Policy<X, M, O, R>, T> {
    /// Samples answers to `problems` from the policy and scores them. The same problems and options always use the same keys,
    /// so two policies can be compared pairwise.
    pub fn evaluate(
        &self,
        problems: &[Problem<T>],
        options: &EvaluationOptions,
    ) -> Result<Evaluation, TrainerError> {
        let mut answers = Vec::new();
        self.evaluate_each(problems, options, |answer| {
            answers.push(answer);
            ControlFlow::Continue(())
        })?;
        let position = |answer: &Answer| problems.iter().position(|problem| problem.id == answer.problem);
        answers.sort_by_cached_key(|answer| (position(answer), answer.sample));
        Ok(Evaluation::of(self.rubric.names(), answers))
    }

    /// The same, but calls `receive` with each answer as soon as it is complete, until it breaks. Answers are complete in an order
    /// that depends on their lengths.
    pub fn evaluate_each(
        &self,
        problems: &[Problem<T>],
        options: &EvaluationOptions,
        mut receive: impl FnMut(Answer) -> ControlFlow<()>,
    ) -> Result<(), TrainerError> {
        if problems.is_empty() {
            return Err(TrainerError::NoProblems);
        }
        let EvaluationOptions { sampling, completions } = options;
        let (mut scored, mut received, mut stopped) = (Ok(()), 0, false);
        self.sample_each(
            problems,
            *completions,
            sampling,
            EVALUATION_STEP,
            &mut |Ended { request, index, sample }| {
                let Some(problem) = problems.get(request) else { return ControlFlow::Continue(()) };
                let completion = [self.completion(&sample)];
                let next = match self.rubric.score_group(&problem.asked(), &completion) {
                    Ok(mut scores) => {
                        let ([completion], scores) = (completion, scores.remove(0));
                        receive(Answer { problem: problem.id, sample: index, completion, scores })
                    }
                    Err(cause) => {
                        scored = Err(TrainerError::Reward { problem: problem.id, cause });
                        ControlFlow::Break(())
                    }
                };
                received += 1;
                stopped |= next.is_break();
                next
            },
        )?;
        scored?;
        let expected = if stopped { received } else { problems.len() * completions };
        TrainerError::check_count("answers", received, expected)
    }

    /// Samples this process's share of an evaluation that the first one makes.
    pub fn answer_share(
        &self,
        problems: &[Problem<T>],
        options: &EvaluationOptions,
    ) -> Result<(), TrainerError> {
        let EvaluationOptions { sampling, completions } = options;
        let ignore = &mut |_| ControlFlow::Break(());
        self.sample_each(problems, *completions, sampling, EVALUATION_STEP, ignore)
    }
}
