//! The gradient is the derivative of the loss, for every combination of fields.

use grpo_core::{Clip, Kl, Normalization, Objective, Ratio};
use proptest::prelude::*;

use crate::step::{Row, step};

const STEP: f64 = 1e-6;

fn objectives() -> impl Strategy<Value = Objective> {
    (
        prop_oneof![Just(Ratio::Token), Just(Ratio::Sequence)],
        (0.01..0.4, 0.01..0.4).prop_map(|(low, high)| Clip { low, high }),
        prop::option::of(0.7..1.6),
        prop_oneof![Just(0.0), 0.001..2.0],
        prop_oneof![Just(Kl::K3), Just(Kl::BiasCorrectedK3)],
        prop_oneof![
            Just(Normalization::Completion),
            Just(Normalization::Token),
            (1_usize..10).prop_map(Normalization::MaxLength)
        ],
    )
        .prop_map(|(ratio, clip, delta, beta, kl, normalization)| Objective {
            ratio,
            clip,
            delta,
            beta,
            kl,
            normalization,
        })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let token = (-5.0..-0.01, -0.6..0.6, -1.0..1.0);
    let row = (prop::collection::vec(token, 0..5), -2.0..2.0).prop_map(|(tokens, advantage)| Row {
        current: tokens.iter().map(|(current, ..)| *current).collect(),
        old: tokens.iter().map(|(current, shift, _)| current - shift).collect(),
        reference: Some(tokens.iter().map(|(current, _, shift)| current + shift).collect()),
        advantage,
    });
    prop::collection::vec(row, 1..4)
}

/// Whether a ratio is so near to a bound that a finite difference would straddle it.
fn near_kink(objective: &Objective, row: &Row) -> bool {
    let log_ratios = row.current.iter().zip(&row.old).map(|(current, old)| current - old);
    let ratios: Vec<f64> = match objective.ratio {
        Ratio::Token => log_ratios.map(f64::exp).collect(),
        Ratio::Sequence => vec![(log_ratios.sum::<f64>() / row.current.len().max(1) as f64).exp()],
    };
    let bounds = [1.0 - objective.clip.low, 1.0 + objective.clip.high, objective.delta.unwrap_or(f64::MAX)];
    ratios.iter().any(|ratio| bounds.iter().any(|bound| (ratio - bound).abs() < 10.0 * STEP))
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
}
