//! Scores completions with the parts of a rubric.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grpo_core::{Asked, Completion, GroupReward, Reward};

use super::{Kind, Part, Rubric, Scores};
use crate::RewardError;
use crate::scoring::{Failure, GroupScored, Scored, score_one, score_together};

/// Groups that are scored at once, at most: rewards may wait for programs.
const THREADS: usize = 32;

impl<T: ?Sized> Rubric<T> {
    /// Scores one completion, to rewards that see the conversation as the answer to none.
    ///
    /// # Errors
    ///
    /// If a reward panics, fails, is not finite, or takes longer than the [limit](Self::with_time_limit). (The program's
    /// panic hook still runs, and by default prints the location of the panic. With `panic = "abort"`, nothing
    /// can be caught.)
    pub fn score(&self, truth: &T, completion: &Completion) -> Result<Scores, RewardError> {
        let asked = Asked { messages: &[], truth };
        let mut scores = self.score_group(&asked, std::slice::from_ref(completion))?;
        Ok(scores.remove(0))
    }

    /// Scores the completions of one problem.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score); of several completions that have one, the error of the first.
    pub fn score_group(
        &self,
        asked: &Asked<'_, T>,
        completions: &[Completion],
    ) -> Result<Vec<Scores>, RewardError> {
        let mut each = vec![vec![None; self.len()]; completions.len()];
        let (places, rewards): (Vec<usize>, Vec<_>) = self.of_each().unzip();
        let scored = self.score_each(rewards, asked.truth, completions);
        for ((row, scored), completion) in each.iter_mut().zip(scored).zip(completions) {
            let fail = |(place, failure): (usize, _)| self.error(places[place], failure, Some(completion));
            for (place, reward) in places.iter().zip(scored.map_err(fail)?) {
                row[*place] = Some(reward);
            }
        }
        for (place, part) in self.parts.iter().enumerate() {
            if let Kind::Group(reward) = &part.reward {
                let scored = self.score_together(reward, asked, completions);
                let scored = scored.map_err(|failure| self.error(place, failure, None))?;
                each.iter_mut().zip(scored).for_each(|(row, reward)| row[place] = reward);
            }
        }
        each.into_iter().zip(completions).map(|(each, completion)| self.pay(&each, completion)).collect()
    }

    /// Scores the groups of several problems side by side, and returns them in their order.
    ///
    /// # Errors
    ///
    /// As [`score_group`](Self::score_group), with the index of the group: of several that have one, the first.
    pub fn score_groups(
        &self,
        groups: &[(Asked<'_, T>, Vec<Completion>)],
    ) -> Result<Vec<Vec<Scores>>, (usize, RewardError)>
    where
        T: Sync,
    {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut scored = Vec::new();
            while let i = next.fetch_add(1, Ordering::Relaxed)
                && let Some((asked, completions)) = groups.get(i)
            {
                let of_group = self.score_group(asked, completions);
                if of_group.is_err() {
                    // No other group begins; those before this one have begun.
                    next.store(groups.len(), Ordering::Relaxed);
                }
                scored.push((i, of_group));
            }
            scored
        };
        let mut scored: Vec<(usize, Result<_, _>)> = thread::scope(|scope| {
            // Where no thread can be started, there are fewer.
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let threads: Vec<_> = (1..groups.len().min(THREADS)).filter_map(start).collect();
            let mut scored = work();
            for thread in threads {
                scored.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            scored
        });
        scored.sort_unstable_by_key(|(i, _)| *i);
        scored.into_iter().map(|(i, scored)| scored.map_err(|error| (i, error))).collect()
    }

    /// The rewards that see one completion at a time, with their indices.
    fn of_each(&self) -> impl Iterator<Item = (usize, Arc<dyn Reward<T>>)> {
        self.parts.iter().enumerate().filter_map(|(place, part)| match &part.reward {
            Kind::Each(reward) => Some((place, reward.clone())),
            Kind::Group(_) => None,
        })
    }

    fn score_each(
        &self,
        rewards: Vec<Arc<dyn Reward<T>>>,
        truth: &T,
        completions: &[Completion],
    ) -> Vec<Scored> {
        match self.within.as_ref().filter(|_| !rewards.is_empty()) {
            Some(within) => (within.each)(rewards, truth, completions),
            None => {
                let one = |completion| score_one(&rewards, truth, completion, &AtomicUsize::new(0));
                completions.iter().map(one).collect()
            }
        }
    }

    fn score_together(
        &self,
        reward: &Arc<dyn GroupReward<T>>,
        asked: &Asked<'_, T>,
        completions: &[Completion],
    ) -> GroupScored {
        match self.within.as_ref().filter(|_| !reward.has_own_time_limit()) {
            Some(within) => (within.group)(reward.clone(), asked, completions),
            None => score_together(reward.as_ref(), asked, completions),
        }
    }

    /// Scores one completion and measures how long each part takes.
    pub(crate) fn score_timed(
        &self,
        asked: &Asked<'_, T>,
        completion: &Completion,
    ) -> Result<(Scores, Vec<Duration>), RewardError> {
        let alone = std::slice::from_ref(completion);
        let timed = |(place, part): (usize, &Part<T>)| {
            let start = Instant::now();
            let scored = match &part.reward {
                Kind::Each(reward) => {
                    let mut scored = self.score_each(vec![reward.clone()], asked.truth, alone);
                    scored.remove(0).map(|rewards| Some(rewards[0])).map_err(|(_, failure)| failure)
                }
                Kind::Group(reward) => self.score_together(reward, asked, alone).map(|rewards| rewards[0]),
            };
            match scored {
                Ok(reward) => Ok((reward, start.elapsed())),
                Err(failure) => Err(self.error(place, failure, Some(completion))),
            }
        };
        let timed = self.parts.iter().enumerate().map(timed).collect::<Result<Vec<_>, _>>()?;
        let (each, times): (Vec<Option<f32>>, _) = timed.into_iter().unzip();
        Ok((self.pay(&each, completion)?, times))
    }

    /// A failure with a completion, or with a group of them.
    fn error(&self, place: usize, failure: Failure, completion: Option<&Completion>) -> RewardError {
        let reward = self.parts[place].name.clone();
        let completion = completion.map(|completion| completion.text.clone());
        match failure {
            Failure::Panicked(message) => RewardError::Panicked { reward, message, completion },
            Failure::TimedOut(limit) => RewardError::TimedOut { reward, limit, completion },
            Failure::Failed(message) => RewardError::Failed { reward, message },
        }
    }

    /// Applies the gate and the weight of each part to its reward. The gate of a reward that abstains is shut.
    fn pay(&self, each: &[Option<f32>], completion: &Completion) -> Result<Scores, RewardError> {
        let is_open = |gate: usize| each[gate].is_some_and(|reward| reward > 0.0);
        let (mut total, mut paid) = (0.0, Vec::with_capacity(self.len()));
        for (part, value) in self.parts.iter().zip(each) {
            let counted = value.map(|value| if part.gate.is_none_or(is_open) { value } else { 0.0 });
            paid.push(counted.unwrap_or(f32::NAN));
            total += part.weight * counted.unwrap_or(0.0);
            let value = value.unwrap_or(0.0);
            if !value.is_finite() || !f32::is_finite(total) {
                return Err(RewardError::NotFinite {
                    reward: part.name.clone(),
                    value,
                    weight: part.weight,
                    completion: completion.text.clone(),
                });
            }
        }
        if !each.is_empty() && each.iter().all(Option::is_none) {
            total = f32::NAN;
        }
        let each = each.iter().map(|reward| reward.unwrap_or(f32::NAN)).collect();
        Ok(Scores { total, each, paid })
    }
}
