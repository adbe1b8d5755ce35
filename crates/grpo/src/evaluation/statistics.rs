//! Statistics of answers, and of two models' answers to the same problems.

use grpo_trainer::{Proportion, Z};
use serde::{Deserialize, Serialize};

/// A mean with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Estimate {
    /// The mean of values that are independent of each other, one per problem, with the interval of the normal approximation:
    /// `mean ± 1.96 · s / √n`, with the sample standard deviation `s` (`ddof` 1). Without at least two values there is no
    /// interval, and both ends are the mean.
    pub fn of_mean(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = values.iter().map(|v| (v - value).powi(2)).sum();
        let half = if values.len() < 2 { 0.0 } else { Z * (squares / (n - 1.0) / n).sqrt() };
        Self { value, low: value - half, high: value + half }
    }

    /// The same for shares, none of which is below 0 or above 1. The interval is narrow if nearly all of them are 0, or 1: then it
    /// needs many problems to be trusted.
    pub fn of_mean_share(shares: &[f64]) -> Self {
        let Self { value, low, high } = Self::of_mean(shares);
        if shares.len() < 2 {
            return Self { value, low: 0.0, high: 1.0 };
        }
        Self { value, low: low.max(0.0), high: high.min(1.0) }
    }
}

impl From<Proportion> for Estimate {
    fn from(share: Proportion) -> Self {
        let (low, high) = share.interval();
        Self { value: share.value(), low, high }
    }
}

/// pass@k: the probability that at least one of `k` completions is right, estimated without bias from `n`, of which `right` are
/// (Chen et al., 2021, arXiv 2107.03374): `1 − C(n − right, k) / C(n, k)`.
///
/// # Panics
///
/// If `k` is above `n`, or `right` is.
pub fn pass_at_k(n: usize, right: usize, k: usize) -> f64 {
    assert!(k <= n && right <= n, "{k} of {n} completions, {right} of them right");
    if n - right < k {
        return 1.0;
    }
    1.0 - (n - right + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// The probability that the most frequent answer is right (maj@k), if one of several equally frequent ones is chosen at random.
/// Completions without an answer have no vote; the others vote with their answer, beside which stands
/// whether it is right.
pub fn majority<'a>(answers: impl IntoIterator<Item = Option<(&'a str, bool)>>) -> f64 {
    let mut votes: Vec<(&str, bool, usize)> = Vec::new();
    for (answer, is_right) in answers.into_iter().flatten() {
        match votes.iter_mut().find(|(other, ..)| *other == answer) {
            Some((.., count)) => *count += 1,
            None => votes.push((answer, is_right, 1)),
        }
    }
    let most = votes.iter().map(|(.., count)| *count).max().unwrap_or(0);
    let winners: Vec<bool> =
        votes.iter().filter(|(.., count)| *count == most).map(|(_, is_right, _)| *is_right).collect();
    let right = winners.iter().filter(|is_right| **is_right).count();
    right as f64 / winners.len().max(1) as f64
}

/// The exact form of McNemar's test of two models that answered the same problems once each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct McNemar {
    /// Problems that only the first model solved.
    pub only_first: usize,
    /// Problems that only the second model solved.
    pub only_second: usize,
}

impl McNemar {
    /// The two-sided p-value: how probable a split of the discordant problems is that is at least as uneven, if each is as likely
    /// to go either way (two-sided binomial test). 1 without any.
    pub fn p_value(&self) -> f64 {
        let (fewer, n) = (self.only_first.min(self.only_second), (self.only_first + self.only_second) as f64);
        // Logarithms: a power of 0.5 underflows from 1,075 problems on.
        let mut log_term = -n * std::f64::consts::LN_2;
        let mut sum = log_term.exp();
        for i in 1..=fewer {
            log_term += ((n - i as f64 + 1.0) / i as f64).ln();
            sum += log_term.exp();
        }
        (2.0 * sum).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_is_the_most_frequent_answer() {
        let right = |answers: &[Option<&str>]| {
            majority(answers.iter().map(|answer| answer.map(|answer| (answer, answer == "1"))))
        };
        assert_eq!(right(&[Some("1"), Some("2"), Some("1")]), 1.0);
        assert_eq!(right(&[Some("1"), Some("2"), Some("2"), None, None, None]), 0.0);
        assert_eq!(right(&[Some("1"), Some("2"), Some("3"), Some("1"), Some("2")]), 0.5);
        assert_eq!(right(&[None, None]), 0.0);
    }

    #[test]
    fn pass_at_k_is_a_share_of_the_subsets() {
        // Of the 10 pairs of 5 completions, 3 have none of the 2 right ones.
        assert!((pass_at_k(5, 2, 2) - 0.7).abs() < 1e-12);
        assert_eq!([pass_at_k(5, 0, 3), pass_at_k(5, 5, 1), pass_at_k(5, 3, 3)], [0.0, 1.0, 1.0]);
        assert!((pass_at_k(8, 3, 1) - 3.0 / 8.0).abs() < 1e-12);
    }

    #[test]
    fn p_values_stay_finite_for_many_problems() {
        assert_eq!(McNemar { only_first: 0, only_second: 0 }.p_value(), 1.0);
        assert_eq!(McNemar { only_first: 700, only_second: 700 }.p_value(), 1.0);
        let far = McNemar { only_first: 100, only_second: 4000 }.p_value();
        assert!((0.0..1e-100).contains(&far));
    }
}
