//! The gradient is the derivative of the loss, for every combination of fields and different advantages per token.

use grpo_core::{Kl, Normalization, Objective, Ratio, Surrogate};
use proptest::prelude::*;

use crate::step::{Row, step};

const STEP: f64 = 1e-6;

fn surrogates() -> impl Strategy<Value = Surrogate> {
    prop_oneof![
        (0.01..0.4, 0.01..0.4, prop::option::of(0.7..1.6))
            .prop_map(|(low, high, delta)| Surrogate::Clipped { low, high, delta }),
        (0.7..3.0).prop_map(|max| Surrogate::Cispo { max }),
        (0.5..2.0, 0.5..2.0).prop_map(|(temperature_pos, temperature_neg)| Surrogate::Sapo {
            temperature_pos,
            temperature_neg
        }),
        (0.5..3.0, 0.5..3.0, 0.5..3.0, 0.5..3.0).prop_map(|(k_pos, lambda_pos, k_neg, lambda_neg)| {
            Surrogate::Vespo { k_pos, lambda_pos, k_neg, lambda_neg }
        }),
    ]
}

fn objectives() -> impl Strategy<Value = Objective> {
    (
        prop_oneof![Just(Ratio::Token), Just(Ratio::Sequence)],
        surrogates(),
        prop_oneof![Just(0.0), 0.001..2.0],
        prop_oneof![Just(Kl::K3), Just(Kl::BiasCorrectedK3)],
        prop_oneof![
            Just(Normalization::Completion),
            Just(Normalization::Token),
            (1_usize..10).prop_map(Normalization::MaxLength),
            Just(Normalization::Sum),
        ],
        prop::option::of(0.01..0.3),
    )
        .prop_map(|(ratio, surrogate, beta, kl, normalization, off_policy_threshold)| Objective {
            ratio,
            surrogate,
            beta,
            // Differences below hold a factor constant by moving the old policy along, and a corrected KL with it.
            kl: if has_constant_factor(surrogate) { Kl::K3 } else { kl },
            normalization,
            off_policy_threshold,
            top_entropy_quantile: 1.0,
        })
}

/// Whether the surrogate is a factor that no gradient flows through, times a log-probability.
fn has_constant_factor(surrogate: Surrogate) -> bool {
    matches!(surrogate, Surrogate::Cispo { .. } | Surrogate::Vespo { .. })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let advantage = || -2.0..2.0;
    let token = (
        -5.0..-0.01,
        -0.6..0.6,
        -1.0..1.0,
        prop_oneof![Just(0.0), 0.1..2.0],
        prop::option::of(advantage()), // the completion's where there is none
    );
    let row = (prop::collection::vec(token, 0..5), advantage(), any::<bool>()).prop_map(
        |(tokens, advantage, weighted)| Row {
            current: tokens.iter().map(|(current, ..)| *current).collect(),
            old: tokens.iter().map(|(current, shift, ..)| current - shift).collect(),
            reference: Some(tokens.iter().map(|(current, _, shift, ..)| current + shift).collect()),
            token_weights: weighted.then(|| tokens.iter().map(|(.., weight, _)| *weight).collect()),
            advantages: tokens.iter().map(|(.., own)| own.unwrap_or(advantage)).collect(),
        },
    );
    prop::collection::vec(row, 1..4)
}

/// Whether a completion is so near to a bound that a finite difference would straddle it.
fn near_kink(objective: &Objective, row: &Row) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() < 10.0 * STEP;
    let log_ratios = || row.current.iter().zip(&row.old).map(|(current, old)| current - old);
    let mean = log_ratios().sum::<f64>() / row.current.len().max(1) as f64;
    let ratios: Vec<f64> = match objective.ratio {
        Ratio::Token => log_ratios().map(f64::exp).collect(),
        Ratio::Sequence => vec![mean.exp()],
    };
    let bounds = match objective.surrogate {
        Surrogate::Clipped { low, high, delta } => vec![1.0 - low, 1.0 + high, delta.unwrap_or(f64::MAX)],
        _ => vec![], // constant factors do not move below, and a gate is smooth
    };
    ratios.iter().any(|ratio| bounds.iter().any(|bound| near(*ratio, *bound)))
        || objective.off_policy_threshold.is_some_and(|threshold| near(-mean, threshold))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn equals_central_differences(objective in objectives(), rows in rows()) {
        prop_assume!(!rows.iter().any(|row| near_kink(&objective, row)));
        let (_, gradient) = step(&objective, &rows);
        for (row, slopes) in gradient.iter().enumerate() {
            for (token, ours) in slopes.iter().enumerate() {
                let at = |shift: f64| {
                    let mut shifted = rows.clone();
                    shifted[row].current[token] += shift;
                    if has_constant_factor(objective.surrogate) {
                        shifted[row].old[token] += shift;
                    }
                    step(&objective, &shifted).0
                };
                let difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                prop_assert!(
                    (ours - difference).abs() < 1e-7 * (1.0 + difference.abs()),
                    "row {row}, token {token}: {ours}, differences give {difference}"
                );
            }
        }
    }

    /// Log-probabilities that no model gives: the loss may be infinite, which the trainer sees, but nothing panics, and
    /// what is finite goes with a gradient that is.
    #[test]
    fn extremes_are_numbers_or_say_so(
        objective in objectives(),
        tokens in prop::collection::vec((-1e4..0.0, -1e4..0.0, -1e4..0.0, -1e3..1e3), 0..6),
    ) {
        let row = Row {
            current: tokens.iter().map(|(current, ..)| *current).collect(),
            old: tokens.iter().map(|(_, old, ..)| *old).collect(),
            reference: Some(tokens.iter().map(|(.., reference, _)| *reference).collect()),
            token_weights: None,
            advantages: tokens.iter().map(|(.., advantage)| *advantage).collect(),
        };
        let (loss, gradients) = step(&objective, &[row]);
        prop_assert!(!loss.is_finite() || gradients.iter().flatten().all(|slope| !slope.is_nan()), "{loss} {gradients:?}");
    }
}
