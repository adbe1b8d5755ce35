//! Several processes that train one policy.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// Processes that train one policy together. Each has all weights, samples and learns from its share of a step, and comes to the same
/// new weights. Every process has to call the same methods in the same order. If sampling, scoring or learning fails in one, it fails in
/// all of them; what fails elsewhere has to end all.
pub trait Collective: Send + Sync {
    /// Which of the processes this is, from 0. The first one scores completions and keeps the record.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Replaces every number by its sum over all processes, added in the order of their ranks.
    fn all_reduce(&self, values: &mut [f32]);

    /// What every process has given, in the order of their ranks.
    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>>;
}

/// A single process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce(&self, _: &mut [f32]) {}

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        vec![bytes.to_vec()]
    }
}

impl dyn Collective + '_ {
    /// This process's share of `n` items. Those of all processes follow each other.
    pub(crate) fn share(&self, n: usize) -> Range<usize> {
        n * self.rank() / self.size()..n * (self.rank() + 1) / self.size()
    }

    /// The items of all processes, in the order of their ranks. If one has an error instead, all of them get an error.
    pub(crate) fn concat<I: Serialize + DeserializeOwned>(
        &self,
        items: Result<Vec<I>, TrainerError>,
    ) -> Result<Vec<I>, TrainerError> {
        if self.size() == 1 {
            return items;
        }
        let given = self.all_gather(&encode(&items)?);
        let mut all = Vec::new();
        items?;
        for (rank, bytes) in given.iter().enumerate() {
            all.extend(decode::<Vec<I>>(rank, bytes)?);
        }
        Ok(all)
    }

    /// What the first process makes, in all of them; an error if it fails.
    pub fn from_first<V: Serialize + DeserializeOwned>(
        &self,
        make: impl FnOnce() -> Result<V, TrainerError>,
    ) -> Result<V, TrainerError> {
        if self.size() == 1 {
            return make();
        }
        let made = if self.rank() == 0 { Some(make()) } else { None };
        let given = self.all_gather(&made.as_ref().map_or(Ok(Vec::new()), encode)?);
        match made {
            Some(made) => made,
            None => decode(0, &given[0]),
        }
    }

    /// An error unless all processes have come to the same number. It is not the same on processors that round differently.
    pub(crate) fn agree(&self, value: f64) -> Result<(), TrainerError> {
        let all = self.concat(Ok(vec![value]))?;
        let differs =
            |other: &f64| other.to_bits() != all[0].to_bits() && (other.is_finite() || all[0].is_finite());
        match all.iter().position(differs) {
            None => Ok(()),
            Some(rank) => Err(TrainerError::Disagreement { rank, first: all[0], other: all[rank] }),
        }
    }
}

/// A value, or the text of an error.
fn encode<V: Serialize>(value: &Result<V, TrainerError>) -> Result<Vec<u8>, TrainerError> {
    let value = value.as_ref().map_err(ToString::to_string);
    rmp_serde::to_vec(&value).map_err(|error| TrainerError::NotSent { reason: error.to_string() })
}

fn decode<V: DeserializeOwned>(rank: usize, bytes: &[u8]) -> Result<V, TrainerError> {
    let value: Result<V, String> = rmp_serde::from_slice(bytes)
        .map_err(|error| TrainerError::NotUnderstood { rank, reason: error.to_string() })?;
    value.map_err(|reason| TrainerError::OtherProcess { rank, reason })
}
