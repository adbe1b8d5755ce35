use grpo_core::mean;
use grpo_reward::Scores;
use grpo_rollout::Sampling;
use serde::{Deserialize, Serialize};

use crate::{Policy, Problem, Proportion, Text, Trainer, TrainerError};

/// The step in the keys of evaluations: none that training reaches.
const EVALUATION: u64 = u64::MAX;

/// How an evaluation samples.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationOptions {
    /// How completions are drawn: [`Sampling::greedy`], or the policy's own distribution.
    pub sampling: Sampling,
    /// Completions of each problem; 1 for greedy.
    pub completions: usize,
}

impl EvaluationOptions {
    /// The most probable completion of each problem.
    pub fn greedy() -> Self {
        Self { sampling: Sampling::greedy(), completions: 1 }
    }

    /// Some completions of each problem at temperature 1.
    pub fn sampled(completions: usize) -> Self {
        Self { sampling: Sampling::default(), completions }
    }
}

/// How a policy does on some problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean of the weighted sum of rewards.
    pub reward: f64,
    /// For every reward, by name: the share of completions that it gave more than 0.
    pub rewarded: Vec<(String, Proportion)>,
    /// Every completion's text and scores, problem by problem.
    pub completions: Vec<(String, Scores)>,
}

impl Evaluation {
    /// The share of completions that the reward `name` gave more than 0.
    pub fn share(&self, name: &str) -> Option<Proportion> {
        self.rewarded.iter().find(|(reward, _)| reward == name).map(|(_, share)| *share)
    }
}

impl<X: Text, M, O, R, T> Trainer<Policy<X, M, O, R>, T> {
    /// Lets the policy answer `problems` and scores its answers. The same problems and options are answered with the same
    /// keys whenever they are evaluated, so that two policies can be compared pair by pair.
    pub fn evaluate(
        &self,
        problems: &[Problem<T>],
        options: &EvaluationOptions,
    ) -> Result<Evaluation, TrainerError> {
        if problems.is_empty() {
            return Err(TrainerError::NoProblems);
        }
        let samples = self.sample(problems, options.completions, &options.sampling, EVALUATION)?;
        let mut completions = Vec::new();
        for (problem, samples) in problems.iter().zip(&samples) {
            for sample in samples {
                let completion = self.completion(sample);
                let scores = self.rubric.score(&problem.truth, &completion)?;
                completions.push((completion.text, scores));
            }
        }
        let trials = completions.len();
        let rewarded = |i: usize| Proportion {
            successes: completions.iter().filter(|(_, scores)| scores.each[i] > 0.0).count(),
            trials,
        };
        Ok(Evaluation {
            reward: mean(completions.iter().map(|(_, scores)| f64::from(scores.total))),
            rewarded: self
                .rubric
                .names()
                .enumerate()
                .map(|(i, name)| (name.to_string(), rewarded(i)))
                .collect(),
            completions,
        })
    }
}
