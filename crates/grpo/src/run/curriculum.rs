//! Which problems are worth sampling, by the run's own pass rates.

use std::collections::{BTreeMap, HashMap};

use grpo_rollout::SampleKey;
use serde::Deserialize;

use super::RunFolder;
use super::replay::Record;
use crate::{Curriculum, Error};

/// What a step's line of metrics says of them.
#[derive(Deserialize)]
struct Recorded {
    pass_rates: BTreeMap<u64, f64>,
}

/// The pass rates of a run so far, and what follows from them.
pub(super) struct PassRates {
    curriculum: Option<Curriculum>,
    seed: u64,
    /// The latest of each problem that has been sampled.
    rates: HashMap<usize, f64>,
}

impl PassRates {
    /// Before the first step.
    pub(super) fn new(curriculum: Option<Curriculum>, seed: u64) -> Self {
        Self { curriculum, seed, rates: HashMap::new() }
    }

    /// Those in a run's record of its first `steps` steps. Without a curriculum, nothing is read.
    pub(super) fn read(&mut self, folder: &RunFolder, steps: u64) -> Result<(), Error> {
        if self.curriculum.is_none() {
            return Ok(());
        }
        const METRICS: &str = "metrics.jsonl";
        for (_, line) in Record::read(folder, METRICS)?.lines.iter().filter(|(step, _)| *step <= steps) {
            let Recorded { pass_rates } = serde_json::from_str(line).map_err(|e| Error::Damaged {
                path: folder.path().join(METRICS),
                reason: e.to_string(),
                advice: "restore it",
            })?;
            self.add(&pass_rates);
        }
        Ok(())
    }

    /// Adds those of a step.
    pub(super) fn add(&mut self, rates: &BTreeMap<u64, f64>) {
        self.rates.extend(rates.iter().map(|(problem, rate)| (*problem as usize, *rate)));
    }

    /// Whether the curriculum has a step sample a problem: always if its rate is within the bounds or unknown, otherwise with the
    /// probability of the floor.
    pub(super) fn is_due(&self, problem: usize, step: u64) -> bool {
        let (Some(curriculum), Some(rate)) = (&self.curriculum, self.rates.get(&problem)) else {
            return true;
        };
        let Curriculum { min_pass_rate, max_pass_rate, floor } = curriculum;
        // `u64::MAX - 1` is no completion's index, so this key is used for nothing else.
        let key = SampleKey { seed: self.seed, step, problem: problem as u64, sample: u64::MAX - 1 };
        (*min_pass_rate..=*max_pass_rate).contains(rate) || key.uniform(0) < *floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_easy_or_too_hard_is_seldom_due_and_the_rest_always() {
        let curriculum = Curriculum { min_pass_rate: 0.25, max_pass_rate: 0.75, floor: 0.2 };
        let mut rates = PassRates::new(Some(curriculum), 3);
        rates.add(&BTreeMap::from([(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75), (4, 1.0)]));
        let times = |problem: usize| (0..1000).filter(|step| rates.is_due(problem, *step)).count();
        for problem in [1, 2, 3, 5] {
            assert_eq!(times(problem), 1000, "{problem}");
        }
        for problem in [0, 4] {
            assert!((150..250).contains(&times(problem)), "{problem}: {}", times(problem));
        }
        // A later rate counts.
        rates.add(&BTreeMap::from([(0, 0.5)]));
        assert!((0..100).all(|step| rates.is_due(0, step)));
        let mut uniform = PassRates::new(None, 3);
        uniform.add(&BTreeMap::from([(0, 0.0)]));
        assert!((0..100).all(|step| uniform.is_due(0, step)));
    }
}
