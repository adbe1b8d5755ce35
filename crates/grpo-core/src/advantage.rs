//! From the rewards of a group to advantages.

/// Added to the standard deviation before dividing, as in TRL.
const EPSILON: f64 = 1e-4;

/// What the sum of squared deviations is divided by to get a variance: `n − ddof` ("delta degrees of
/// freedom").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ddof {
    /// `n`: the standard deviation of exactly these rewards, as in DeepSeekMath and NumPy.
    #[default]
    Population,
    /// `n − 1`, as in `torch.std` and so in TRL. It is larger by `√(n / (n − 1))`, so advantages are smaller:
    /// in a group of four by 1.1547. The deviation of a single reward is taken as 0.
    Sample,
}

/// How much better a completion is than its group.
///
/// The baseline is always the mean of the group, the completions of one problem; another problem's rewards
/// say nothing about it.
///
/// ```
/// use grpo_core::Advantage;
///
/// assert_eq!(Advantage::Centered.of_group(&[1.0, 0.0, 0.5]), [0.5, -0.5, 0.0]);
/// let advantages = Advantage::default().of_group(&[1.0, 0.0, 0.5]); // divided by std 0.41
/// assert!((advantages[0] - 1.22).abs() < 0.005 && advantages[2] == 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Advantage {
    /// `(reward − mean) / (std + 1e-4)`: GRPO as published (DeepSeekMath, section 4.1.2; TRL's
    /// `scale_rewards="group"`, there with [`Ddof::Sample`]).
    Standardized {
        /// Which standard deviation.
        ddof: Ddof,
    },
    /// `reward − mean`: Dr. GRPO, which drops the division because it favours problems that are nearly always
    /// or nearly never solved (TRL's `scale_rewards=False`).
    Centered,
}

impl Default for Advantage {
    fn default() -> Self {
        Self::Standardized { ddof: Ddof::Population }
    }
}

impl Advantage {
    /// The advantage of each completion of one group, in the order of its rewards.
    ///
    /// Computed in double precision. All are exactly zero, and the group teaches nothing, where all rewards
    /// are equal; so for a group of one. Rewards are finite: one NaN makes every advantage of the group NaN.
    pub fn of_group(&self, rewards: &[f32]) -> Vec<f32> {
        let mean = rewards.iter().copied().map(f64::from).sum::<f64>() / rewards.len() as f64;
        let deviations = rewards.iter().map(|&reward| f64::from(reward) - mean);
        let scale = match self {
            Self::Standardized { ddof } => std_from(deviations.clone(), *ddof) + EPSILON,
            Self::Centered => 1.0,
        };
        deviations.map(|deviation| (deviation / scale) as f32).collect()
    }
}

/// The standard deviation, given the deviations from the mean.
fn std_from(deviations: impl ExactSizeIterator<Item = f64>, ddof: Ddof) -> f64 {
    let n = match ddof {
        Ddof::Population => deviations.len(),
        Ddof::Sample => deviations.len().saturating_sub(1),
    };
    // A single reward deviates from its mean by 0, whatever that is divided by.
    (deviations.map(|deviation| deviation * deviation).sum::<f64>() / n.max(1) as f64).sqrt()
}
