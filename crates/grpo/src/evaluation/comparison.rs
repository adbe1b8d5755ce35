//! Two models on the same problems.

use std::path::{Path, PathBuf};

use grpo_trainer::differences;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::record::{read_results, write};
use super::results::{Measure, by_problem, means};
use super::{Answered, Estimate, EvaluationConfig, McNemar, Results};
use crate::Error;

const COMPARISON: &str = "comparison.json";

/// The answers of two models to the same problems, asked in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedComparison {
    /// The results of both.
    pub results: [Results; 2],
    /// By each measure of accuracy.
    pub measures: Vec<PairedMeasure>,
}

/// The answers of two models to the same problems by one measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairedMeasure {
    /// The measure.
    pub measure: Measure,
    /// The first model's accuracy minus the second's, with the interval of the normal approximation over the problems.
    pub difference: Estimate,
    /// McNemar's exact test, with its p-value; none if there are several completions per problem.
    pub test: Option<(McNemar, f64)>,
    /// Problems on which the first model has more right answers.
    pub better: Vec<Discordant>,
    /// Problems on which it has fewer.
    pub worse: Vec<Discordant>,
}

/// A problem that two models do not solve equally often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discordant {
    /// The problem's index among those that are answered: in the split, unless examples are left out of it.
    pub problem: usize,
    /// The question.
    pub question: String,
    /// The right answer.
    pub truth: String,
    /// The first completion of each model.
    pub completions: [String; 2],
}

impl EvaluationConfig {
    /// An error if more than the model, its adapter and whether it reasons first differs from another configuration.
    pub fn check_comparable(&self, other: &Self) -> Result<(), Error> {
        let how = |config: &Self| {
            json!(Self { model: String::new(), adapter: None, enable_thinking: None, ..config.clone() })
        };
        let differ = differences(&how(other), &how(self));
        if differ.is_empty() {
            return Ok(());
        }
        Err(Error::Contradiction(format!(
            "the evaluations cannot be compared: they differ in {}",
            differ.join(", ")
        )))
    }
}

impl PairedComparison {
    /// Compares the evaluations in two folders.
    pub fn read(first: &Path, second: &Path) -> Result<Self, Error> {
        let [(a, mut answers), (b, mut others)] = [read_results(first)?, read_results(second)?];
        a.config.check_comparable(&b.config)?;
        let (answers, others) = (by_problem(&mut answers), by_problem(&mut others));
        let key = |group: &&[Answered]| (group[0].problem, group[0].question.clone(), group[0].truth.clone());
        if !answers.iter().map(key).eq(others.iter().map(key)) {
            let reason = "the evaluations cannot be compared: they answer different problems";
            return Err(Error::Contradiction(reason.to_string()));
        }
        let measures = Measure::ALL.map(|measure| PairedMeasure::of(measure, &answers, &others));
        Ok(Self { results: [a, b], measures: measures.into() })
    }

    /// Writes it to `comparison.json` in a folder, and returns the path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, Error> {
        write(folder, COMPARISON, self)?;
        Ok(folder.join(COMPARISON))
    }
}

impl PairedMeasure {
    fn of(measure: Measure, first: &[&[Answered]], second: &[&[Answered]]) -> Self {
        let [a, b] = [first, second]
            .map(|groups| means(groups, &|answer| f64::from(u8::from(measure.is_right(answer)))));
        let differences: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
        let discordant = |is_so: fn(f64) -> bool| -> Vec<Discordant> {
            let all = differences.iter().zip(first.iter().zip(second)).filter(|(d, _)| is_so(**d));
            all.map(|(_, (a, b))| Discordant {
                problem: a[0].problem,
                question: a[0].question.clone(),
                truth: a[0].truth.clone(),
                completions: [a[0].completion.clone(), b[0].completion.clone()],
            })
            .collect()
        };
        let (better, worse) = (discordant(|d| d > 0.0), discordant(|d| d < 0.0));
        let is_single = first.iter().chain(second).all(|group| group.len() == 1);
        let test = McNemar { only_first: better.len(), only_second: worse.len() };
        Self {
            measure,
            difference: Estimate::of_mean(&differences),
            test: is_single.then(|| (test, test.p_value())),
            better,
            worse,
        }
    }
}
