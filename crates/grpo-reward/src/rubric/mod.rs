//! Several rewards as one.

mod score;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grpo_core::{GroupReward, Reward};
use serde::{Deserialize, Serialize};

use crate::time_limit::Limited;
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
    /// ([`RewardError::TimedOut`](crate::RewardError::TimedOut)). Its thread is left behind, because a thread cannot be stopped from outside; it
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

    /// Whether every part can score completions of a problem with this truth.
    ///
    /// # Errors
    ///
    /// [`RewardError::Failed`](crate::RewardError::Failed), if a part says that it cannot.
    pub fn check(&self, truth: &T) -> Result<(), RewardError> {
        self.parts.iter().try_for_each(|part| match &part.reward {
            Kind::Each(_) => Ok(()),
            Kind::Group(reward) => reward
                .check(truth)
                .map_err(|message| RewardError::Failed { reward: part.name.clone(), message }),
        })
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

    /// The index of the part that says whether an answer is right: the first of the largest weight; 0 without any parts.
    pub fn outcome(&self) -> usize {
        let largest = self.reward_weights().fold(f32::NEG_INFINITY, f32::max);
        self.reward_weights().position(|weight| weight == largest).unwrap_or(0)
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
