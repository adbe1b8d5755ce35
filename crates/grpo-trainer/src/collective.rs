//! Several processes that train one policy.

use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TrainerError;

/// Processes that train one policy together. Each has all weights, samples and learns from its share of a step, and comes to the same
/// new weights. Every process has to call the same methods in the same order.
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

    /// The items of all processes, in the order of their ranks.
    pub(crate) fn join<I: Serialize + DeserializeOwned>(
        &self,
        items: Vec<I>,
    ) -> Result<Vec<I>, TrainerError> {
        if self.size() == 1 {
            return Ok(items);
        }
        let mut all = Vec::new();
        for (rank, bytes) in self.all_gather(&encode(&items)?).iter().enumerate() {
            all.extend(decode::<Vec<I>>(rank, bytes)?);
        }
        Ok(all)
    }

    /// The value that the first process makes, in all of them.
    pub fn first<V: Serialize + DeserializeOwned, E: From<TrainerError>>(
        &self,
        make: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        if self.size() == 1 {
            return make();
        }
        let bytes = if self.rank() == 0 { encode(&make()?)? } else { Vec::new() };
        Ok(decode(0, &self.all_gather(&bytes)[0])?)
    }

    /// An error unless all processes have come to the same number.
    pub(crate) fn agree(&self, value: f64) -> Result<(), TrainerError> {
        let all = self.join(vec![value])?;
        let differs =
            |other: &f64| other.to_bits() != all[0].to_bits() && (other.is_finite() || all[0].is_finite());
        match all.iter().position(differs) {
            None => Ok(()),
            Some(rank) => Err(TrainerError::Disagreement { rank, first: all[0], other: all[rank] }),
        }
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, TrainerError> {
    rmp_serde::to_vec(value).map_err(|error| TrainerError::Processes { rank: 0, reason: error.to_string() })
}

fn decode<V: DeserializeOwned>(rank: usize, bytes: &[u8]) -> Result<V, TrainerError> {
    rmp_serde::from_slice(bytes).map_err(|error| TrainerError::Processes { rank, reason: error.to_string() })
}
