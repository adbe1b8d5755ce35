//! What a reward gave over many completions.

use grpo_core::{Ddof, mean, std};

use crate::Scores;

/// What one part of a rubric gave over many completions: the raw rewards, before the gate and the
/// weight.
///
/// ```
/// use grpo_core::{Completion, Finish};
/// use grpo_reward::{RewardStatistics, Rubric};
///
/// let rubric = Rubric::<str>::gsm8k();
/// let score = |text: &str| {
///     rubric.score("18", &Completion { text: text.into(), n_tokens: 2, finish: Finish::Stop })
/// };
/// let scores = [score("18")?, score("19")?];
///
/// let [correctness, format] = &RewardStatistics::of(rubric.names(), &scores)[..] else { unreachable!() };
/// assert_eq!((correctness.n, correctness.mean, correctness.above_zero), (2, 1.0, 0.5));
/// assert_eq!((format.name.as_str(), format.std, format.max), ("format", 0.0, 0.0));
/// # Ok::<(), grpo_reward::RewardError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RewardStatistics {
    /// The name of the part.
    pub name: String,
    /// Number of completions that it scored, at least 1.
    pub n: usize,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, ddof 1; 0 for a single completion.
    pub std: f64,
    /// The lowest reward.
    pub min: f32,
    /// The highest reward.
    pub max: f32,
    /// The share of completions whose reward is above 0.
    pub above_zero: f64,
}

impl RewardStatistics {
    /// The statistics of each part over the completions on which it did not abstain, in the order of `names`, which are those of the
    /// rubric that gave the scores. A part without any is left out.
    pub fn of<'a>(
        names: impl IntoIterator<Item = impl Into<String>>,
        scores: impl IntoIterator<Item = &'a Scores>,
    ) -> Vec<Self> {
        let scores: Vec<&Scores> = scores.into_iter().collect();
        let part = |(index, name)| {
            let given = scores.iter().filter_map(|scores| scores.each.get(index)).copied();
            Self::of_rewards(name, given.filter(|reward: &f32| !reward.is_nan()).collect())
        };
        names.into_iter().map(Into::into).enumerate().filter_map(part).collect()
    }

    fn of_rewards(name: String, rewards: Vec<f32>) -> Option<Self> {
        let (&first, n) = (rewards.first()?, rewards.len());
        let wide: Vec<f64> = rewards.iter().copied().map(f64::from).collect();
        Some(Self {
            name,
            n,
            mean: mean(wide.iter().copied()),
            std: std(&wide, Ddof::Sample),
            min: rewards.iter().copied().fold(first, f32::min),
            max: rewards.iter().copied().fold(first, f32::max),
            above_zero: rewards.iter().filter(|reward| **reward > 0.0).count() as f64 / n as f64,
        })
    }
}
