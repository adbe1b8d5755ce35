//! Advantages: values, and what must hold for any rewards.

use grpo_core::{Advantage, Aggregation, Ddof};
use proptest::prelude::*;

const POPULATION: Advantage = Advantage::Standardized { ddof: Ddof::Population };
const SAMPLE: Advantage = Advantage::Standardized { ddof: Ddof::Sample };
const BATCH: Advantage = Advantage::BatchScaled { ddof: Ddof::Sample };
const ALL: [Advantage; 4] = [POPULATION, SAMPLE, BATCH, Advantage::Centered];

fn check(advantage: Advantage, rewards: &[f32], expected: &[f32]) {
    let advantages = advantage.of_group(rewards);
    assert_close(&advantages, expected, 1e-5);
}

#[test]
fn values() {
    // mean 1, variance 1 (ddof 0) or 4/3 (ddof 1)
    let rewards = [2.0, 2.0, 0.0, 0.0];
    let (population, sample) = (1.0 / (1.0 + 1e-4), 1.0 / ((4.0_f32 / 3.0).sqrt() + 1e-4));
    check(POPULATION, &rewards, &[population, population, -population, -population]);
    check(SAMPLE, &rewards, &[sample, sample, -sample, -sample]);
    check(Advantage::Centered, &rewards, &[1.0, 1.0, -1.0, -1.0]);
}

/// TRL's `scale_rewards="batch"`: the group's mean, the deviation of all, which is 1 (ddof 1).
#[test]
fn scaled_by_the_batch() {
    let groups = [vec![2.0, 2.0], vec![0.0, 2.0]];
    assert_close(&BATCH.of_step(&groups).concat(), &[0.0, 0.0, -0.999_9, 0.999_9], 1e-6);
    assert!(BATCH.of_step(&[]).is_empty());
}

#[test]
fn groups_of_none_and_one() {
    for advantage in ALL {
        assert!(advantage.of_group(&[]).is_empty());
        assert_eq!(advantage.of_group(&[3.7]), [0.0]);
    }
}

proptest! {
    #[test]
    fn zero_for_equal_rewards(reward in -1e6_f32..1e6, group_size in 1_usize..40) {
        for advantage in ALL {
            prop_assert_eq!(advantage.of_group(&vec![reward; group_size]), vec![0.0; group_size]);
        }
    }

    #[test]
    fn finite_for_any_rewards(rewards in prop::collection::vec(prop::num::f32::NORMAL, 0..20)) {
        for advantage in ALL {
            let advantages = advantage.of_group(&rewards);
            prop_assert_eq!(advantages.len(), rewards.len());
            let spread = rewards.iter().fold(0.0_f32, |most, reward| most.max(reward.abs()));
            // Centered ones are differences of rewards, and no number can hold those of the largest.
            prop_assert!(advantages.iter().all(|a| a.is_finite()) || spread > f32::MAX / 2.0, "{advantages:?}");
        }
    }

    #[test]
    fn mean_is_zero(rewards in prop::collection::vec(-10.0_f32..10.0, 1..40)) {
        for advantage in ALL {
            let advantages = advantage.of_group(&rewards);
            let mean = advantages.iter().sum::<f32>() / advantages.len() as f32;
            prop_assert!(mean.abs() < 1e-5, "{mean}");
        }
    }

    /// Integers keep the shifted rewards exact.
    #[test]
    fn a_shift_changes_nothing(
        rewards in prop::collection::vec(-100_i16..100, 1..20),
        shift in -100_i16..100,
    ) {
        let float = |shift: i16| rewards.iter().map(|reward| f32::from(reward + shift)).collect::<Vec<_>>();
        for advantage in ALL {
            assert_close(&advantage.of_group(&float(shift)), &advantage.of_group(&float(0)), 1e-4);
        }
    }

    /// Centered advantages grow with the rewards; standardized ones don't, up to the constant in the divisor.
    #[test]
    fn a_scale_reaches_centered_ones_only(
        rewards in prop::collection::vec(-100_i16..100, 2..20),
        scale in 1_i16..50,
    ) {
        prop_assume!(rewards.iter().any(|reward| *reward != rewards[0]));
        let float = |scale: i16| rewards.iter().map(|reward| f32::from(reward * scale)).collect::<Vec<_>>();
        for advantage in [POPULATION, SAMPLE] {
            assert_close(&advantage.of_group(&float(scale)), &advantage.of_group(&float(1)), 3e-3);
        }
        let scaled: Vec<f32> =
            Advantage::Centered.of_group(&float(1)).iter().map(|value| value * f32::from(scale)).collect();
        assert_close(&Advantage::Centered.of_group(&float(scale)), &scaled, 1e-2);
    }
}

fn assert_close(ours: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(expected) {
        assert!((ours - expected).abs() <= tolerance, "{ours}, expected {expected}");
    }
}

/// By TRL 1.16: `nansum`, `nanmean` and its `nanstd`, in double precision.
#[test]
fn what_abstains_is_left_out_as_in_trl() {
    let nan = f32::NAN;
    let groups = [
        [[2.0, 0.5, nan], [0.0, nan, 1.0], [nan, nan, nan], [2.0, 0.0, nan]],
        [[0.0, 0.5, 0.25], [nan, 0.0, 0.5], [0.0, 0.5, nan], [1.0, nan, nan]],
    ];
    let combined = |aggregation: Aggregation| -> Vec<Vec<f32>> {
        let rows = groups.iter().map(|group| group.map(|row| row.to_vec()));
        rows.map(|rows| aggregation.of_group(&[1.0, 2.0, 0.5], &rows)).collect()
    };
    let close = |found: &[f32], expected: &[f64]| {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
        }
    };
    let sums = combined(Aggregation::SumThenNormalize);
    assert!(sums[0][2].is_nan());
    close(&[&sums[0][..2], &sums[0][3..], &sums[1]].concat(), &[3.0, 0.5, 2.0, 1.125, 0.25, 1.0, 1.0]);
    let ddof = Ddof::Sample;
    for (advantage, expected) in [
        (
            Advantage::Standardized { ddof },
            [
                0.92709897159,
                -1.059541681818,
                0.0,
                0.132442710227,
                0.702606352146,
                -1.483280076752,
                0.390336862303,
                0.390336862303,
            ],
        ),
        (
            Advantage::BatchScaled { ddof },
            [
                1.238169540403,
                -1.415050903318,
                0.0,
                0.176881362915,
                0.298487299919,
                -0.630139855384,
                0.165826277733,
                0.165826277733,
            ],
        ),
        (
            Advantage::Centered,
            [1.166666666667, -1.333333333333, 0.0, 0.166666666667, 0.28125, -0.59375, 0.15625, 0.15625],
        ),
    ] {
        close(&advantage.of_step(&sums).concat(), &expected);
    }
    let gdpo = Advantage::BatchScaled { ddof }.of_step(&combined(Aggregation::NormalizeThenSum));
    let expected = [
        1.43584460041,
        -0.832612800453,
        0.0,
        -0.603231799957,
        0.161313704366,
        -1.409980613856,
        0.416126202933,
        0.832540706557,
    ];
    close(&gdpo.concat(), &expected);
}
