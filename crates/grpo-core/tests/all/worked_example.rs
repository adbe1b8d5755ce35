//! The worked example of the original project: rewards 1, 0 and 0.5.
//!
//! It states: mean 0.5, standard deviation 0.41, advantages 1.22, −1.22 and 0; a ratio of 1.11; a KL
//! divergence of 0.0053; a loss of −0.0833. That loss is not the token's own (−1.11 · 1.22 is −1.35), so it
//! is the mean over the group, and what the other two completions contribute is left unsaid. A reading that
//! gives all the numbers: every completion is one token with ratios 1.11, 0.905 (`exp(−0.1)`) and 1; the
//! reference is the old policy; advantages enter as printed, with two decimals.

use grpo_core::{Advantage, Objective};

use crate::step::{Row, step};

const REWARDS: [f32; 3] = [1.0, 0.0, 0.5];

fn rounded(value: f64, decimals: i32) -> f64 {
    let unit = 10_f64.powi(decimals);
    (value * unit).round() / unit
}

#[test]
fn advantages() {
    let advantages: Vec<f64> =
        Advantage::default().of_group(&REWARDS).iter().map(|&advantage| advantage.into()).collect();
    assert_eq!(
        advantages.iter().map(|advantage| rounded(*advantage, 2)).collect::<Vec<_>>(),
        [1.22, -1.22, 0.0]
    );
    // The deviation it divides by: half a point is 1.22 of them.
    assert_eq!(rounded(0.5 / advantages[0], 2), 0.41);
}

#[test]
fn loss() {
    let rows: Vec<Row> = [(1.11_f64.ln(), 1.22), (-0.1, -1.22), (0.0, 0.0)]
        .into_iter()
        .map(|(log_ratio, advantage)| {
            let old = vec![-1.2];
            Row {
                current: vec![-1.2 + log_ratio],
                reference: Some(old.clone()),
                old,
                token_weights: None,
                advantages: vec![advantage],
            }
        })
        .collect();

    let first = rows[0].term(&Objective::default());
    assert_eq!(rounded(first.kl, 4), 0.0053);
    assert!((first.loss - (-1.11 * 1.22 + 0.04 * first.kl)).abs() < 1e-12);
    assert_eq!(rounded(step(&Objective::default(), &rows).0, 4), -0.0833);
}
