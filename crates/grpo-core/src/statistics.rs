//! Mean and standard deviation.

/// What the sum of squared deviations is divided by to get a variance: `n − ddof` ("delta degrees of
/// freedom").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Ddof {
    /// `n`: the standard deviation of exactly these values, as in DeepSeekMath and NumPy.
    #[default]
    Population,
    /// `n − 1`, as in `torch.std` and therefore in TRL. It is larger by `√(n / (n − 1))`, so advantages are smaller: in a group
    /// of four by 1.1547. The deviation of a single value is defined as 0.
    Sample,
}

/// The mean, in double precision; 0 for an empty slice.
pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    // Not `sum`, which returns negative zero for an empty slice.
    values.fold(0.0, |sum, value| sum + value) / n
}

/// The standard deviation, in double precision; 0 for an empty slice.
///
/// ```
/// use grpo_core::{Ddof, std};
///
/// assert_eq!(std(&[1.0, 3.0], Ddof::Population), 1.0);
/// assert_eq!(std(&[1.0, 3.0], Ddof::Sample), 2.0_f64.sqrt());
/// ```
pub fn std(values: &[f64], ddof: Ddof) -> f64 {
    let n = match ddof {
        Ddof::Population => values.len(),
        Ddof::Sample => values.len().saturating_sub(1),
    };
    let mean = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    // A single value deviates from its mean by 0, whatever the divisor.
    (squares / n.max(1) as f64).sqrt()
}
