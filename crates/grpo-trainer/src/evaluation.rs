use grpo_reward::Scores;
use grpo_rollout::{Noise, Request, Sampler, Sampling};
use serde::{Deserialize, Serialize};

use crate::roll_out::at_problem;
use crate::{Policy, Problem, Trainer, TrainerError};

/// The step that evaluation noise is keyed with: none that training reaches.
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
    /// For every reward, by name: the share of completions that it gave anything.
    pub rewarded: Vec<(String, Proportion)>,
    /// Every completion's text and scores, problem by problem.
    pub completions: Vec<(String, Scores)>,
}

impl Evaluation {
    /// The share of completions that the reward `name` gave anything.
    pub fn share(&self, name: &str) -> Option<Proportion> {
        self.rewarded.iter().find(|(reward, _)| reward == name).map(|(_, share)| *share)
    }
}

/// A share of trials, with the Wilson 95 % confidence interval of the probability behind it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Proportion {
    /// Trials that succeeded.
    pub successes: usize,
    /// All trials.
    pub trials: usize,
}

impl Proportion {
    /// The share; 0 of no trials.
    pub fn value(&self) -> f64 {
        self.successes as f64 / self.trials.max(1) as f64
    }

    /// Both ends of the interval (Wilson 1927, z = 1.96).
    pub fn interval(&self) -> (f64, f64) {
        if self.trials == 0 {
            return (0.0, 1.0);
        }
        const Z: f64 = 1.959_963_984_540_054;
        let (p, n) = (self.value(), self.trials as f64);
        let scale = 1.0 + Z * Z / n;
        let center = (p + Z * Z / (2.0 * n)) / scale;
        let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        ((center - half).max(0.0), (center + half).min(1.0))
    }
}

impl std::fmt::Display for Proportion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = self.interval();
        let [value, low, high] = [self.value(), low, high].map(|x| 100.0 * x);
        write!(f, "{value:.1} % [{low:.1}, {high:.1}] ({}/{})", self.successes, self.trials)
    }
}

impl<P: Policy, T> Trainer<P, T> {
    /// Lets the policy answer `problems` and scores its answers. The same problems and options are answered with the same
    /// noise whenever they are evaluated, so that two policies can be compared pair by pair.
    pub fn evaluate(
        &self,
        problems: &[Problem<T>],
        options: &EvaluationOptions,
    ) -> Result<Evaluation, TrainerError> {
        if problems.is_empty() {
            return Err(TrainerError::NoProblems);
        }
        let key = |problem, sample| Noise { seed: self.config.seed, step: EVALUATION, problem, sample };
        let noise: Vec<Vec<Noise>> = problems
            .iter()
            .map(|p| (0..options.completions as u64).map(|i| key(p.id, i)).collect())
            .collect();
        let requests: Vec<Request<'_>> =
            problems.iter().zip(&noise).map(|(p, noise)| Request { prompt: &p.prompt, noise }).collect();
        let sampler = Sampler { sampling: options.sampling.clone(), ..self.sampler() };
        let samples =
            sampler.sample(&self.policy, &requests).map_err(|source| at_problem(source, problems))?;

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
            reward: completions.iter().map(|(_, s)| f64::from(s.total)).sum::<f64>() / trials.max(1) as f64,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values by the closed formula of Wilson (1927), computed with statsmodels' `proportion_confint`.
    #[test]
    fn wilson_intervals() {
        for (successes, trials, low, high) in
            [(0, 10, 0.0, 0.277_533), (10, 10, 0.722_467, 1.0), (66, 200, 0.268_592, 0.397_822)]
        {
            let (l, h) = Proportion { successes, trials }.interval();
            assert!((l - low).abs() < 1e-4 && (h - high).abs() < 1e-4, "{successes}/{trials}: {l} {h}");
        }
        assert_eq!(Proportion { successes: 0, trials: 0 }.interval(), (0.0, 1.0));
    }
}
