//! Computes advantages from rewards.

use crate::{Ddof, mean, std};

/// Added to the standard deviation before dividing, as in TRL.
const EPSILON: f64 = 1e-4;

/// How advantages are computed: how much better a completion is than its group.
///
/// The baseline is always the mean of the group (the completions of one problem); other problems' rewards say nothing about it.
///
/// ```
/// use grpo_core::Advantage;
///
/// assert_eq!(Advantage::Centered.of_group(&[1.0, 0.0, 0.5]), [0.5, -0.5, 0.0]);
/// let advantages = Advantage::default().of_group(&[1.0, 0.0, 0.5]); // divided by std 0.41
/// assert!((advantages[0] - 1.22).abs() < 0.005 && advantages[2] == 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum Advantage {
    /// `(reward − mean) / (std + 1e-4)`: GRPO as published (DeepSeekMath, section 4.1.2; TRL's
    /// `scale_rewards="group"`, there with [`Ddof::Sample`]).
    Standardized {
        /// Which standard deviation.
        #[cfg_attr(feature = "serde", serde(default))]
        ddof: Ddof,
    },
    /// `(reward − mean) / (std + 1e-4)`, with the standard deviation over all rewards of the step (TRL's
    /// `scale_rewards="batch"`, there with [`Ddof::Sample`]): groups with nearly equal rewards are not scaled up to the size
    /// of the others.
    BatchScaled {
        /// Which standard deviation.
        #[cfg_attr(feature = "serde", serde(default))]
        ddof: Ddof,
    },
    /// `reward − mean`: Dr. GRPO, which drops the division because it favors problems that are nearly always or nearly never
    /// solved (TRL's `scale_rewards="none"`).
    Centered,
}

impl Default for Advantage {
    fn default() -> Self {
        Self::Standardized { ddof: Ddof::Population }
    }
}

impl Advantage {
    /// The advantage of each completion, in the order of the given rewards of all groups of the step.
    ///
    /// Computed in double precision. If all rewards of a group are equal (as in a group of one), all its advantages are
    /// exactly zero and it teaches nothing. A completion whose reward is NaN was not scored: its advantage is zero, and it counts
    /// neither in the mean nor in the standard deviation (as in TRL, where every reward function returned `None`).
    ///
    /// ```
    /// use grpo_core::{Advantage, Ddof};
    ///
    /// let groups = [vec![1.0, 0.0], vec![0.5, 0.5]];
    /// let advantages = Advantage::BatchScaled { ddof: Ddof::Sample }.of_step(&groups); // divided by std 0.41
    /// assert!((advantages[0][0] - 1.22).abs() < 0.005);
    /// assert_eq!(advantages[1], [0.0, 0.0]);
    /// ```
    pub fn of_step(&self, rewards: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let of_batch = match self {
            Self::BatchScaled { ddof } => std(&scored(&rewards.concat()), *ddof) + EPSILON,
            Self::Standardized { .. } | Self::Centered => 1.0,
        };
        let of_group = |rewards: &Vec<f32>| {
            let scored = scored(rewards);
            let scale = match self {
                Self::Standardized { ddof } => std(&scored, *ddof) + EPSILON,
                Self::BatchScaled { .. } | Self::Centered => of_batch,
            };
            let mean = mean(scored.into_iter());
            let advantage = |reward: &f32| match reward.is_nan() {
                true => 0.0,
                false => ((f64::from(*reward) - mean) / scale) as f32,
            };
            rewards.iter().map(advantage).collect()
        };
        rewards.iter().map(of_group).collect()
    }

    /// [`of_step`](Self::of_step) for a step with one group.
    pub fn of_group(&self, rewards: &[f32]) -> Vec<f32> {
        self.of_step(&[rewards.to_vec()]).concat()
    }
}

/// How the rewards of a completion are combined into the one used for comparison.
///
/// ```
/// use grpo_core::Aggregation;
///
/// let (reward_weights, rewards) = ([1.0, 2.0], [vec![2.0, 0.0], vec![0.0, 0.5]]); // of two completions
/// assert_eq!(Aggregation::SumThenNormalize.of_group(&reward_weights, &rewards), [2.0, 1.0]);
/// // Either reward distinguishes the completions, whatever its size: only its reward weight counts.
/// let combined = Aggregation::NormalizeThenSum.of_group(&reward_weights, &rewards);
/// assert!(combined[0] < 0.0 && combined[1] > 0.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Aggregation {
    /// The weighted sum of the rewards (TRL's `multi_objective_aggregation="sum_then_normalize"`).
    #[default]
    SumThenNormalize,
    /// The weighted sum of standardized rewards: each is standardized separately within the group, `(reward − mean) / (std +
    /// 1e-4)` with [`Ddof::Sample`], so that a large reward does not drown out the others (GDPO, arXiv 2601.05242; TRL's
    /// `"normalize_then_sum"`, which continues with [`Advantage::BatchScaled`] and [`Ddof::Sample`]).
    NormalizeThenSum,
}

impl Aggregation {
    /// The combined reward of each completion of a group. `rewards` has one row per completion, and each row one number per
    /// entry of `reward_weights` (TRL's option of that name). A reward that is NaN is left out, as TRL leaves out what is `None`; if
    /// all rewards of a completion are, so is the result.
    ///
    /// # Panics
    ///
    /// If a row has fewer rewards than there are `reward_weights`.
    pub fn of_group(&self, reward_weights: &[f32], rewards: &[Vec<f32>]) -> Vec<f32> {
        let mut combined = vec![0.0; rewards.len()];
        for (part, &weight) in reward_weights.iter().enumerate() {
            let of_part: Vec<f32> = rewards.iter().map(|row| row[part]).collect();
            let values = match self {
                Self::SumThenNormalize => of_part,
                Self::NormalizeThenSum => Advantage::Standardized { ddof: Ddof::Sample }.of_group(&of_part),
            };
            for ((sum, value), row) in combined.iter_mut().zip(values).zip(rewards) {
                if !row[part].is_nan() {
                    *sum += weight * value;
                }
            }
        }
        let is_scored = |row: &Vec<f32>| row.is_empty() || row.iter().any(|reward| !reward.is_nan());
        combined
            .into_iter()
            .zip(rewards)
            .map(|(sum, row)| if is_scored(row) { sum } else { f32::NAN })
            .collect()
    }
}

/// The rewards of the completions that were scored.
fn scored(rewards: &[f32]) -> Vec<f64> {
    rewards.iter().filter(|reward| !reward.is_nan()).copied().map(f64::from).collect()
}
