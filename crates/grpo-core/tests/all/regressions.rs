//! Mistakes that trainers are known for, each named after it, and behaviour at the edges.

use grpo_core::{
    Advantage, Aggregation, Bound, Ddof, Level, LogProbs, LogProbsError, Objective, Ratio, Recipe,
    SamplerCorrection, Surrogate,
};

use crate::recipe::recipes;
use crate::step::{Row, lengths, scaled, step};

fn row(current: &[f64], advantage: f64) -> Row {
    let old = current.iter().enumerate().map(|(token, logprob)| logprob - 0.1 * token as f64).collect();
    let reference = Some(current.iter().map(|logprob| logprob - 0.05).collect());
    let advantages = vec![advantage; current.len()];
    Row { current: current.to_vec(), old, reference, token_weights: None, advantages }
}

fn batch() -> Vec<Row> {
    vec![row(&[-1.0, -0.3, -2.0], 1.5), row(&[-0.7], -0.5), row(&[], 0.2), row(&[-0.1, -0.2], -1.2)]
}

fn objectives() -> [Objective; 10] {
    recipes().map(|recipe| recipe.objective)
}

/// Loss divided twice under gradient accumulation: micro-batches of any size add up to the step.
#[test]
fn micro_batches_add_up() {
    for objective in objectives() {
        let rows = batch();
        let scales = objective.scales(&lengths(&rows));
        let (loss, gradient) = step(&objective, &rows);
        for size in 1..=rows.len() {
            let parts = rows.chunks(size).zip(scales.chunks(size));
            let parts: Vec<_> = parts.map(|(rows, scales)| scaled(&objective, rows, scales)).collect();
            let summed: f64 = parts.iter().map(|(loss, _)| loss).sum();
            assert!((summed - loss).abs() < 1e-15, "{objective:?}: {summed} and {loss}");
            let joined: Vec<Vec<f64>> = parts.into_iter().flat_map(|(_, gradient)| gradient).collect();
            assert_eq!(joined, gradient, "{objective:?}");
        }
    }
}

/// Baseline over the batch instead of the group: another problem's rewards change nothing.
#[test]
fn the_baseline_is_the_group() {
    let (easy, hard) = (vec![2.0, 2.0, 2.0], vec![0.0, 0.0, 0.0]);
    let ddof = Ddof::Sample;
    for advantage in [
        Advantage::default(),
        Advantage::Standardized { ddof },
        Advantage::BatchScaled { ddof },
        Advantage::Centered,
    ] {
        assert_eq!(advantage.of_step(&[easy.clone(), hard.clone()]), [[0.0; 3]; 2], "{advantage:?}");
    }
}

/// First completion token never trained; last one (the stop token) likewise.
#[test]
fn every_token_is_trained() {
    let row = row(&[-1.0, -0.3, -2.0], 1.0);
    let gradient = Row { old: row.current.clone(), ..row }.term(&Objective::default()).gradient;
    assert_eq!(gradient.len(), 3);
    assert!(gradient.iter().all(|slope| *slope < 0.0), "{gradient:?}");
}

/// Ratio against the reference: without a KL term the reference has no influence.
#[test]
fn the_ratio_is_against_the_old_policy() {
    let row = row(&[-1.0, -0.3], 1.0);
    let objective = Objective { beta: 0.0, ..Objective::default() };
    let without = Row { reference: None, ..row.clone() }.term(&objective);
    let with = row.term(&objective);
    assert_eq!((with.loss, &with.gradient), (without.loss, &without.gradient));
    // It is still measured, for the metric.
    assert!(with.kl > 0.0 && without.kl == 0.0);
}

/// A completion without tokens: no loss, no gradient, and one ratio where there is one per completion.
#[test]
fn an_empty_completion_has_no_loss() {
    for objective in objectives() {
        let term = row(&[], 1.0).term(&objective);
        assert_eq!((term.loss, term.gradient.len(), term.kl), (0.0, 0, 0.0));
        assert_eq!(term.n_ratios, usize::from(objective.ratio == Ratio::Sequence));
        assert_eq!((term.clipped_low, term.clipped_high), (0, 0));
        assert!(objective.scales(&[0, 0]).iter().all(|scale| scale.is_finite()));
        assert!(objective.scales(&[]).is_empty());
    }
}

#[test]
fn a_missing_reference_is_an_error() {
    let logprobs = LogProbs::new(&[-1.0], &[-1.0]).unwrap();
    assert_eq!(Objective::default().completion_loss(logprobs, &[1.0]), Err(LogProbsError::MissingReference));
    assert!(Recipe::dapo(4).objective.completion_loss(logprobs, &[1.0]).is_ok());
}

#[test]
fn a_length_mismatch_is_an_error() {
    let error = LogProbs::new(&[-1.0, -2.0], &[-1.0]).unwrap_err();
    assert_eq!(error, LogProbsError::LengthMismatch { list: "old", current: 2, other: 1 });
    let error = LogProbs::new(&[-1.0], &[-1.0]).unwrap().with_reference(&[]).unwrap_err();
    assert_eq!(error, LogProbsError::LengthMismatch { list: "reference", current: 1, other: 0 });
    assert!(error.to_string().contains("reference"));
    let logprobs = LogProbs::new(&[-1.0], &[-1.0]).unwrap();
    let error = logprobs.with_token_weights(&[1.0, 1.0]).unwrap_err();
    assert_eq!(error, LogProbsError::LengthMismatch { list: "token_weights", current: 1, other: 2 });
    let error = Recipe::dapo(4).objective.completion_loss(logprobs, &[1.0, 1.0]).unwrap_err();
    assert_eq!(error, LogProbsError::LengthMismatch { list: "advantages", current: 1, other: 2 });
}

/// NaN log-probabilities show in the loss: clipping must not hide them. Nothing panics, whatever the numbers.
#[test]
fn what_is_not_a_number_is_not_hidden() {
    for objective in objectives() {
        let term = row(&[f64::NAN, -1.0], 1.0).term(&objective);
        assert!(term.loss.is_nan() && term.gradient[0].is_nan(), "{objective:?}");
    }
    let surrogate = Surrogate::Clipped { low: -1.0, high: -1.0, delta: Some(f64::NAN) };
    let inverted = Objective { surrogate, ..Recipe::gspo().objective };
    assert_eq!(row(&[-1.0], 1.0).term(&inverted).n_ratios, 1);
}

/// A ratio beyond the range of floats that is clipped leaves a finite loss and no gradient.
#[test]
fn an_infinite_ratio_is_clipped() {
    let row = Row {
        current: vec![0.0],
        old: vec![-1000.0],
        reference: None,
        token_weights: None,
        advantages: vec![1.0],
    };
    let term = row.term(&Recipe::dapo(4).objective);
    assert_eq!((term.loss, term.gradient, term.clipped_high), (-1.28, vec![0.0], 1));
    // A soft gate is closed.
    let term = row.term(&Recipe::sapo().objective);
    assert_eq!((term.loss, term.gradient), (-4.0, vec![0.0]));
}

/// A ratio exactly on a bound: the gradient is torch 2.15's, a fraction of that of the unclipped ratio. It
/// does not count as clipped.
#[test]
fn on_a_bound() {
    let cases = [
        ((0.0, 0.5), None, 0.5),
        ((0.5, 0.0), None, 0.5),
        ((0.0, 0.0), None, 0.5),
        ((0.2, 0.2), Some(1.0), 0.5),
        ((0.0, 0.0), Some(1.0), 0.0),
    ];
    for ((low, high), delta, fraction) in cases {
        for advantage in [2.0, -2.0] {
            let row = Row {
                current: vec![-1.0],
                old: vec![-1.0],
                reference: None,
                token_weights: None,
                advantages: vec![advantage],
            };
            let surrogate = Surrogate::Clipped { low, high, delta };
            let objective = Objective { surrogate, ..Recipe::dapo(4).objective };
            let term = row.term(&objective);
            assert_eq!(
                (term.loss, term.gradient),
                (-advantage, vec![-advantage * fraction]),
                "{objective:?}"
            );
            assert_eq!((term.clipped_low, term.clipped_high), (0, 0), "{objective:?}");
        }
    }
}

/// A token weight of 0 takes a token out of the surrogate loss, and leaves its KL.
#[test]
fn token_weights_do_not_reach_the_kl() {
    let full = row(&[-1.0, -0.3], 1.0);
    let masked = Row { token_weights: Some(vec![0.0, 1.0]), ..full.clone() };
    let no_kl = Objective { beta: 0.0, ..Objective::default() };
    assert_eq!(masked.term(&no_kl).gradient, [0.0, full.term(&no_kl).gradient[1]]);
    let kl_alone = |row: &Row| row.term(&Objective::default()).loss - row.term(&no_kl).loss;
    assert!((kl_alone(&masked) - kl_alone(&full)).abs() < 1e-15);
}

/// TRL's four modes, and what is not a number is not hidden.
#[test]
fn a_sampler_is_corrected_for_within_bounds() {
    let (old, sampled) = ([-1.0, -2.0, f64::NAN], [-2.0, -1.5, -1.0]);
    let ratios = |level, bound| {
        let correction = SamplerCorrection { level, bound, min: 0.7, max: 2.0 };
        correction
            .ratios(&old[..2], &sampled[..2])
            .iter()
            .map(|ratio| (1e3 * ratio).round())
            .collect::<Vec<f64>>()
    };
    // Ratios e and e^-0.5 = 0.607; of both together e^0.5 = 1.649.
    assert_eq!(ratios(Level::Token, Bound::Truncate), [2000.0, 700.0]);
    assert_eq!(ratios(Level::Token, Bound::Mask), [0.0, 0.0]);
    assert_eq!(ratios(Level::Sequence, Bound::Truncate), [1649.0, 1649.0]);
    let masked = SamplerCorrection { max: 1.5, ..SamplerCorrection::default() };
    assert_eq!(masked.ratios(&old[..2], &sampled[..2]), [0.0, 0.0]);
    for level in [Level::Token, Level::Sequence] {
        let ratios = SamplerCorrection { level, ..SamplerCorrection::default() }.ratios(&old, &sampled);
        assert!(ratios[2].is_nan(), "{ratios:?}");
    }
}

/// Only what got a negative advantage and has been unlearned already is left out; its KL stays.
#[test]
fn off_policy_completions_have_no_surrogate() {
    let objective = Objective { off_policy_threshold: Some(0.3), ..Objective::default() };
    let far = |advantage, sign: f64| Row {
        current: vec![-2.0, -1.0],
        old: vec![-2.0 + sign, -1.0],
        reference: Some(vec![-2.0, -1.5]),
        token_weights: None,
        advantages: vec![advantage; 2],
    };
    for (advantage, sign, expected) in [(-1.0, 1.0, true), (1.0, 1.0, false), (-1.0, -1.0, false)] {
        let term = far(advantage, sign).term(&objective);
        assert_eq!(term.off_policy, expected);
        let kl = objective.beta * term.kl;
        assert_eq!(term.loss == kl && term.gradient[0] == 0.0, expected, "{term:?}");
    }
    // Nor may a threshold hide what is not a number.
    let nan = Row { current: vec![f64::NAN, -1.0], ..far(-1.0, 1.0) };
    assert!(nan.term(&objective).loss.is_nan());
}

/// A reward that pays ten times as much drowns the other in a sum, and not where each is normalized by itself.
#[test]
fn rewards_normalized_apart_do_not_drown_each_other() {
    let rewards = [vec![10.0, 0.0], vec![0.0, 1.0], vec![10.0, 1.0], vec![0.0, 0.0]];
    let summed = Aggregation::SumThenNormalize.of_group(&[1.0, 1.0], &rewards);
    assert_eq!(summed, [10.0, 1.0, 11.0, 0.0]);
    // Of two and two that differ by 1, the deviation (ddof 1) is √(1/3).
    let z = 0.5 / (0.577_350_3 + 1e-4);
    let apart = Aggregation::NormalizeThenSum.of_group(&[1.0, 2.0], &rewards);
    for (ours, expected) in apart.iter().zip([-z, z, 3.0 * z, -3.0 * z]) {
        assert!((ours - expected).abs() < 1e-3, "{ours}, expected {expected}");
    }
    // What follows in TRL: the deviation of all, here (ddof 1) √(20/3) · z.
    let advantages = Advantage::BatchScaled { ddof: Ddof::Sample }.of_step(&[apart]).concat();
    for (ours, expected) in advantages.iter().zip([-1.0, 1.0, 3.0, -3.0]) {
        assert!((ours - expected / (20.0_f32 / 3.0).sqrt()).abs() < 1e-3, "{ours}");
    }
}
