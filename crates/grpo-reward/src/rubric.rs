//! Several rewards as one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use grpo_core::{Completion, Reward};
use serde::{Deserialize, Serialize};

use crate::scoring::{Failure, Scored, score_one};
use crate::time_limit::{Score, within};
use crate::{Correctness, RewardError, SettingError, StrictFormat};

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
    within: Option<Box<Score<T>>>,
}

struct Part<T: ?Sized> {
    name: String,
    weight: f32,
    version: String,
    reward: Arc<dyn Reward<T>>,
    /// The index of the part that must be above 0 for this one to count.
    gate: Option<usize>,
}

/// What a completion earned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// `Σ weight · paid`.
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
    pub fn with(mut self, name: impl Into<String>, weight: f32, reward: impl Reward<T> + 'static) -> Self {
        let version = reward.version();
        let part = Part { name: name.into(), weight, version, reward: Arc::new(reward), gate: None };
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
        Self { within: Some(within(limit)), ..self }
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

    /// Scores one completion.
    ///
    /// # Errors
    ///
    /// If a reward panics, is not finite, or takes longer than the [limit](Self::with_time_limit). (The program's
    /// panic hook still runs, and by default prints the location of the panic. With `panic = "abort"`, nothing
    /// can be caught.)
    pub fn score(&self, truth: &T, completion: &Completion) -> Result<Scores, RewardError> {
        let mut scores = self.score_group(truth, std::slice::from_ref(completion))?;
        Ok(scores.remove(0))
    }

    /// Scores completions of one problem, each as [`score`](Self::score) does.
    ///
    /// # Errors
    ///
    /// The error of the first completion that has one.
    pub fn score_group(&self, truth: &T, completions: &[Completion]) -> Result<Vec<Scores>, RewardError> {
        let rewards: Vec<_> = self.parts.iter().map(|part| part.reward.clone()).collect();
        let scored = match self.within.as_ref().filter(|_| !rewards.is_empty()) {
            Some(within) => within(rewards, truth, completions),
            None => {
                let one = |completion| score_one(&rewards, truth, completion, &AtomicUsize::new(0));
                completions.iter().map(one).collect()
            }
        };
        let pay = |(scored, completion): (Scored, &Completion)| {
            self.pay(scored.map_err(|(place, failure)| self.error(place, failure, completion))?, completion)
        };
        scored.into_iter().zip(completions).map(pay).collect()
    }

    /// Scores one completion and measures how long each part takes.
    pub(crate) fn score_timed(
        &self,
        truth: &T,
        completion: &Completion,
    ) -> Result<(Scores, Vec<Duration>), RewardError> {
        let timed = |(place, part): (usize, &Part<T>)| {
            let start = Instant::now();
            let scored = match &self.within {
                Some(within) => {
                    let mut scored =
                        within(vec![part.reward.clone()], truth, std::slice::from_ref(completion));
                    scored.remove(0)
                }
                None => {
                    score_one(std::slice::from_ref(&part.reward), truth, completion, &AtomicUsize::new(0))
                }
            };
            match scored {
                Ok(reward) => Ok((reward[0], start.elapsed())),
                Err((_, failure)) => Err(self.error(place, failure, completion)),
            }
        };
        let timed = self.parts.iter().enumerate().map(timed).collect::<Result<Vec<_>, _>>()?;
        let (each, times) = timed.into_iter().unzip();
        Ok((self.pay(each, completion)?, times))
    }

    fn error(&self, place: usize, failure: Failure, completion: &Completion) -> RewardError {
        let (reward, completion) = (self.parts[place].name.clone(), completion.text.clone());
        match failure {
            Failure::Panicked(message) => RewardError::Panicked { reward, message, completion },
            Failure::TimedOut(limit) => RewardError::TimedOut { reward, limit, completion },
        }
    }

    /// Applies the gate and the weight of each part to its reward.
    fn pay(&self, each: Vec<f32>, completion: &Completion) -> Result<Scores, RewardError> {
        let (mut total, mut paid) = (0.0, Vec::with_capacity(self.len()));
        for (part, &value) in self.parts.iter().zip(&each) {
            let counted = if part.gate.is_none_or(|gate| each[gate] > 0.0) { value } else { 0.0 };
            paid.push(counted);
            total += part.weight * counted;
            if !value.is_finite() || !f32::is_finite(total) {
                return Err(RewardError::NotFinite {
                    reward: part.name.clone(),
                    value,
                    weight: part.weight,
                    completion: completion.text.clone(),
                });
            }
        }
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
