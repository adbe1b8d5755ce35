use std::collections::BTreeMap;
use std::path::Path;

use grpo_core::Finish;
use grpo_reward::{Row, Rubric, extract_answer};
use grpo_trainer::Proportion;
use serde::{Deserialize, Serialize};

use super::record::{Description, read_results};
use super::statistics::{majority, pass_at_k};
use super::{Answered, Estimate, EvaluationConfig};
use crate::Error;
use crate::machine::Machine;

/// The results of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// What was answered, and how.
    pub config: EvaluationConfig,
    /// What it was answered with.
    pub machine: Machine,
    /// SHA-256 of the files of the model and the adapter.
    pub files: BTreeMap<String, String>,
    /// Seconds of sampling.
    pub seconds: f64,
    /// Problems.
    pub problems: usize,
    /// The name of the reward that strict accuracy is about: the one of the largest weight. Earlier versions had correctness alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// That reward is above 0; by default, if the text between the answer tags is the truth.
    pub strict: Accuracy,
    /// The last `\boxed{…}`, or the last number of the completion, is the truth, in whatever format.
    pub lenient: Accuracy,
    /// Share of completions in the prescribed format, line by line.
    pub format: Estimate,
    /// Share of completions that were cut off.
    pub truncated: Estimate,
    /// Mean tokens of a completion.
    pub tokens: Estimate,
}

/// How many completions are right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// Share of right completions; of several for each problem, mean@k. The 95 % interval is Wilson's for one completion per
    /// problem, and otherwise the normal approximation over the problems.
    pub accuracy: Estimate,
    /// With several completions per problem: for k = 1, 2, 4, …, the mean over problems of pass@k, estimated without bias.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pass_at: BTreeMap<usize, Estimate>,
    /// With several completions per problem: share of problems whose most frequent answer is right (maj@k).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub majority: Option<Estimate>,
}

/// How an answer is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The reward of the largest weight pays for it.
    Strict,
    /// The last number is the truth.
    Lenient,
}

impl Measure {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Strict, Self::Lenient];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Lenient => "lenient",
        }
    }

    pub(super) fn is_right(self, answer: &Answered) -> bool {
        match self {
            Self::Strict => answer.strict,
            Self::Lenient => answer.lenient,
        }
    }

    /// What a completion votes for.
    fn vote(self, answer: &Answered) -> Option<&str> {
        match self {
            Self::Strict if !answer.completion.contains("<answer>") => None,
            Self::Strict => Some(extract_answer(&answer.completion)),
            Self::Lenient => answer.answer.as_deref(),
        }
    }
}

impl Results {
    /// The results in the folder of an evaluation.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        Ok(read_results(folder)?.0)
    }

    /// The accuracy by a measure.
    pub fn accuracy(&self, measure: Measure) -> &Accuracy {
        match measure {
            Measure::Strict => &self.strict,
            Measure::Lenient => &self.lenient,
        }
    }

    /// The results of all answers, problem by problem.
    pub(super) fn of(description: &Description, rubric: &Rubric<Row>, groups: &[&[Answered]]) -> Self {
        let Description { config, machine, files, seconds, .. } = description;
        Self {
            config: config.clone(),
            machine: machine.clone(),
            files: files.clone(),
            seconds: *seconds,
            problems: groups.len(),
            outcome: rubric.names().nth(rubric.outcome()).map(str::to_string),
            strict: Accuracy::of(groups, Measure::Strict),
            lenient: Accuracy::of(groups, Measure::Lenient),
            format: share(groups, &|answer| answer.format),
            truncated: share(groups, &|answer| answer.finish == Finish::Length),
            tokens: Estimate::of_mean(&means(groups, &|answer| answer.tokens as f64)),
        }
    }
}

impl Accuracy {
    fn of(groups: &[&[Answered]], measure: Measure) -> Self {
        let accuracy = share(groups, &|answer| measure.is_right(answer));
        let n = groups.first().map_or(0, |group| group.len());
        if n < 2 {
            return Self { accuracy, pass_at: BTreeMap::new(), majority: None };
        }
        let right = |group: &[Answered]| group.iter().filter(|answer| measure.is_right(answer)).count();
        let pass_at = |k: usize| {
            let of_problems: Vec<f64> = groups.iter().map(|group| pass_at_k(n, right(group), k)).collect();
            (k, Estimate::of_mean_share(&of_problems))
        };
        let powers = std::iter::successors(Some(1), |k| Some(2 * k)).take_while(|k| *k < n);
        let of_majority = |group: &&[Answered]| {
            majority(group.iter().map(|answer| Some((measure.vote(answer)?, measure.is_right(answer)))))
        };
        let majorities: Vec<f64> = groups.iter().map(of_majority).collect();
        Self {
            accuracy,
            pass_at: powers.chain([n]).map(pass_at).collect(),
            majority: Some(Estimate::of_mean_share(&majorities)),
        }
    }
}

/// The share of completions with a property.
fn share(groups: &[&[Answered]], has: &dyn Fn(&Answered) -> bool) -> Estimate {
    let values = means(groups, &|answer| f64::from(u8::from(has(answer))));
    if groups.iter().any(|group| group.len() > 1) {
        return Estimate::of_mean_share(&values);
    }
    let successes = values.iter().filter(|value| **value > 0.0).count();
    Proportion { successes, trials: values.len() }.into()
}

/// The mean of a value over each problem's completions.
pub(super) fn means(groups: &[&[Answered]], value: &dyn Fn(&Answered) -> f64) -> Vec<f64> {
    groups.iter().map(|group| group.iter().map(value).sum::<f64>() / group.len() as f64).collect()
}

/// Answers in the order of problems and samples, as one slice for each problem.
pub(super) fn by_problem(answers: &mut [Answered]) -> Vec<&[Answered]> {
    answers.sort_unstable_by_key(|answer| (answer.problem, answer.sample));
    answers.chunk_by(|a, b| a.problem == b.problem).collect()
}
