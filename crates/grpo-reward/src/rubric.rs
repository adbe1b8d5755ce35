//! Several rewards as one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grpo_core::{Asked, Completion, GroupReward, Reward};
use serde::{Deserialize, Serialize};

use crate::scoring::{Failure, GroupScored, Scored, score_one, score_together};
use crate::time_limit::Limited;
use crate::{Correctness, RewardError, SettingError, StrictFormat};

/// Groups that are scored at once, at most: rewards may wait for programs.
const THREADS: usize = 32;

/// A named, weighted sum of rewards.
///
/// Metrics use the names of the parts (`rewards/{name}/mean`). A part of weight 0 is scored and reported,
/// but not paid. A part with a [gate](Self::gate) is paid only if another part's reward is above 0.
///
/// ```
/// use grpo_core::{Completion, Finish};
/// use grpo_reward::{Numeric, Rubric, TagCount};
///
/// let rubric = Rubric::<str>::new()
///     .with("correctness", 1.0, Numeric::default())
///     .with("tags", 0.5, TagCount::default())
///     .with("finished", 0.0, |_: &str, completion: &Completion| {
///         f32::from(u8::from(completion.finish == Finish::Stop))
///     });
///
/// let completion = Completion { text: "<answer>18.</answer>".into(), n_tokens: 7, finish: Finish::Stop };
/// let scores = rubric.score("18", &completion)?;
/// assert_eq!(scores.each, [2.0, 0.25, 1.0]);
/// assert_eq!(scores.total, 2.125);
/// # Ok::<(), grpo_reward::RewardError>(())
/// ```
pub struct Rubric<T: ?Sized> {
    parts: Vec<Part<T>>,
    /// Scores within a time limit; none if no limit is set.
    within: Option<Limited<T>>,
}

struct Part<T: ?Sized> {
    name: String,
    weight: f32,
    version: String,
    reward: Kind<T>,
    /// The index of the part that must be above 0 for this one to count.
    gate: Option<usize>,
}

/// What a reward sees.
enum Kind<T: ?Sized> {
    /// One completion at a time.
    Each(Arc<dyn Reward<T>>),
    /// All completions of a problem.
    Group(Arc<dyn GroupReward<T>>),
}

/// What a completion earned. A reward is NaN where it abstains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// `Σ weight · paid` over the rewards that do not abstain; NaN if all do.
    pub total: f32,
    /// Each raw reward, before its gate and its weight, in the order of [`Rubric::names`].
    pub each: Vec<f32>,
    /// Each reward before its weight, or 0 if its gate is shut.
    pub paid: Vec<f32>,
}

impl<T: ?Sized> Rubric<T> {
    /// A rubric without parts, under which every completion earns 0.
    pub fn new() -> Self {
        Self { parts: Vec::new(), within: None }
    }

    /// Adds a part, or replaces the one with this name (including its gate): names are unique, because metrics
    /// need them to be.
    ///
    /// ```
    /// use grpo_reward::{Rubric, SoftFormat};
    ///
    /// let lenient = Rubric::<str>::gsm8k().with("format", 1.0, SoftFormat::default());
    /// assert_eq!(lenient.names().collect::<Vec<_>>(), ["correctness", "format"]);
    /// ```
    #[must_use]
    pub fn with(self, name: impl Into<String>, weight: f32, reward: impl Reward<T> + 'static) -> Self {
        let version = reward.version();
        self.add(Part {
            name: name.into(),
            weight,
            version,
            reward: Kind::Each(Arc::new(reward)),
            gate: None,
        })
    }

    /// Adds a part that scores all completions of a problem together, or replaces the one with this name.
    #[must_use]
    pub fn with_group(
        self,
        name: impl Into<String>,
        weight: f32,
        reward: impl GroupReward<T> + 'static,
    ) -> Self {
        let version = reward.version();
        self.add(Part {
            name: name.into(),
            weight,
            version,
            reward: Kind::Group(Arc::new(reward)),
            gate: None,
        })
    }

    fn add(mut self, part: Part<T>) -> Self {
        match self.parts.iter_mut().find(|other| other.name == part.name) {
            Some(other) => *other = part,
            None => self.parts.push(part),
        }
        self
    }

    /// Lets the part `name` count only if the part `by` is above 0, before the weight and gate of `by`: if
    /// the correctness gates the format, no layout is paid without a right answer. This replaces any gate that
    /// `name` had.
    ///
    /// ```
    /// use grpo_core::{Completion, Finish};
    /// use grpo_reward::Rubric;
    ///
    /// let rubric = Rubric::<str>::gsm8k().gate("format", "correctness")?;
    /// let score = |answer: u32| {
    ///     let text = format!("<reasoning>\nHalf.\n</reasoning>\n<answer>\n{answer}\n</answer>\n");
    ///     rubric.score("18", &Completion { text, n_tokens: 9, finish: Finish::Stop })
    /// };
    /// assert_eq!(score(18)?.total, 2.5);
    /// assert_eq!(score(19)?.total, 0.0);
    /// assert_eq!((score(19)?.each, score(19)?.paid), (vec![0.0, 0.5], vec![0.0, 0.0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no part `name` or no part `by`.
    pub fn gate(mut self, name: &str, by: &str) -> Result<Self, SettingError> {
        let (gated, gate) = (self.index(name)?, self.index(by)?);
        self.parts[gated].gate = Some(gate);
        Ok(self)
    }

    /// Gives the part `name` a version: a run that began with one version does not resume with another. A closure
    /// has no version by default, so nobody notices if it changes while a run is interrupted.
    ///
    /// # Errors
    ///
    /// If there is no part `name`.
    pub fn version(mut self, name: &str, version: impl Into<String>) -> Result<Self, SettingError> {
        let part = self.index(name)?;
        self.parts[part].version = version.into();
        Ok(self)
    }

    /// Limits the time that scoring a completion may take. A reward that hangs then becomes an error that names it
    /// ([`RewardError::TimedOut`]). Its thread is left behind, because a thread cannot be stopped from outside; it
    /// ends when the reward or the program does.
    ///
    /// The limit is a safety net, not a measure: whether a completion hits it depends on the machine, so it is no
    /// verdict on the completion. A reward that may take long (because it runs a program, say) should count its own
    /// steps, and return 0 when they run out.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use grpo_core::{Completion, Finish};
    /// use grpo_reward::Rubric;
    ///
    /// let hangs = |_: &str, _: &Completion| loop {
    ///     std::thread::park();
    /// };
    /// let rubric = Rubric::<str>::gsm8k().with("stuck", 1.0, hangs).with_time_limit(Duration::from_millis(50));
    /// let completion = Completion { text: "<answer>18</answer>".into(), n_tokens: 7, finish: Finish::Stop };
    /// let error = rubric.score("18", &completion).unwrap_err();
    /// assert!(error.to_string().starts_with("reward `stuck` was still at work after 50ms"));
    /// ```
    #[must_use]
    pub fn with_time_limit(self, limit: Duration) -> Self
    where
        T: ToOwned + 'static,
        T::Owned: Send,
    {
        Self { within: Some(Limited::new(limit)), ..self }
    }

    /// The index of the part `name`.
    pub(crate) fn index(&self, name: &str) -> Result<usize, SettingError> {
        self.names().position(|other| other == name).ok_or_else(|| SettingError::NoSuchPart {
            name: name.to_owned(),
            known: self.names().map(str::to_owned).collect(),
        })
    }

    /// The names of the parts, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.name.as_str())
    }

    /// The weight of each part in the total, in the order of [`names`](Self::names): TRL's `reward_weights`.
    pub fn reward_weights(&self) -> impl Iterator<Item = f32> {
        self.parts.iter().map(|part| part.weight)
    }

    /// The name of each part's gate, in the order of [`names`](Self::names); `None` if a part has none.
    pub fn gates(&self) -> impl Iterator<Item = Option<&str>> {
        self.parts.iter().map(|part| part.gate.map(|gate| self.parts[gate].name.as_str()))
    }

    /// The version of each part, in the order of [`names`](Self::names); empty if a part has none.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.version.as_str())
    }

    /// Number of parts.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is no part.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

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
            while let Some((i, (asked, completions))) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, groups.get(i)?)))
            {
                scored.push((i, self.score_group(asked, completions)));
            }
            scored
        };
        let mut scored: Vec<(usize, Result<_, _>)> = thread::scope(|scope| {
            let threads: Vec<_> = (1..groups.len().min(THREADS)).map(|_| scope.spawn(work)).collect();
            let mut scored = work();
            // Panics of rewards are caught.
            scored.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()));
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
        match &self.within {
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

impl<T: AsRef<str> + ?Sized> Rubric<T> {
    /// The classic rubric for grade-school word problems: [`Correctness`] (2.0) named `correctness` and
    /// [`StrictFormat`] (0.5) named `format`.
    pub fn gsm8k() -> Self {
        Self::new().with("correctness", 1.0, Correctness::default()).with(
            "format",
            1.0,
            StrictFormat::default(),
        )
    }
}

impl<T: ?Sized> Default for Rubric<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: ?Sized> fmt::Debug for Rubric<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names().zip(self.reward_weights())).finish()
    }
}
