//! Mistakes that trainers are known for, each named after it, and behaviour at the edges.

use grpo_core::{Advantage, Clip, LogProbs, LogProbsError, Normalization, Objective, Ratio};

use crate::step::{Row, lengths, scaled, step};

fn row(current: &[f64], advantage: f64) -> Row {
    let old = current.iter().enumerate().map(|(token, logprob)| logprob - 0.1 * token as f64).collect();
    let reference = Some(current.iter().map(|logprob| logprob - 0.05).collect());
    Row { current: current.to_vec(), old, reference, advantage }
}

fn batch() -> Vec<Row> {
    vec![row(&[-1.0, -0.3, -2.0], 1.5), row(&[-0.7], -0.5), row(&[], 0.2), row(&[-0.1, -0.2], -1.2)]
}

fn objectives() -> [Objective; 5] {
    [Objective::grpo(), Objective::bnpo(), Objective::dapo(), Objective::dr_grpo(4), Objective::gspo()]
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
    let (easy, hard) = ([2.0, 2.0, 2.0], [0.0, 0.0, 0.0]);
    for rewards in [easy, hard] {
        assert_eq!(Advantage::default().of_group(&rewards), [0.0; 3]);
    }
}

/// First completion token never trained; last one (the stop token) likewise.
#[test]
fn every_token_is_trained() {
    let row = row(&[-1.0, -0.3, -2.0], 1.0);
    let gradient = Row { old: row.current.clone(), ..row }.term(&Objective::grpo()).gradient;
    assert_eq!(gradient.len(), 3);
    assert!(gradient.iter().all(|slope| *slope < 0.0), "{gradient:?}");
}

/// Ratio against the reference: without a KL term the reference has no influence.
#[test]
fn the_ratio_is_against_the_old_policy() {
    let row = row(&[-1.0, -0.3], 1.0);
    let objective = Objective { beta: 0.0, ..Objective::grpo() };
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
    assert_eq!(Objective::grpo().completion_loss(logprobs, 1.0), Err(LogProbsError::MissingReference));
    assert!(Objective::dapo().completion_loss(logprobs, 1.0).is_ok());
}

#[test]
fn a_length_mismatch_is_an_error() {
    let error = LogProbs::new(&[-1.0, -2.0], &[-1.0]).unwrap_err();
    assert_eq!(error, LogProbsError::LengthMismatch { policy: "old", current: 2, other: 1 });
    let error = LogProbs::new(&[-1.0], &[-1.0]).unwrap().with_reference(&[]).unwrap_err();
    assert_eq!(error, LogProbsError::LengthMismatch { policy: "reference", current: 1, other: 0 });
    assert!(error.to_string().contains("reference"));
}

/// NaN log-probabilities show in the loss: clipping must not hide them. Nothing panics, whatever the numbers.
#[test]
fn what_is_not_a_number_is_not_hidden() {
    for objective in objectives() {
        let term = row(&[f64::NAN, -1.0], 1.0).term(&objective);
        assert!(term.loss.is_nan() && term.gradient[0].is_nan(), "{objective:?}");
    }
    let clip = Clip { low: -1.0, high: -1.0 };
    let inverted = Objective { clip, delta: Some(f64::NAN), ..Objective::gspo() };
    assert_eq!(row(&[-1.0], 1.0).term(&inverted).n_ratios, 1);
}

/// A ratio beyond the range of floats that is clipped leaves a finite loss and no gradient.
#[test]
fn an_infinite_ratio_is_clipped() {
    let row = Row { current: vec![0.0], old: vec![-1000.0], reference: None, advantage: 1.0 };
    let term = row.term(&Objective::dapo());
    assert_eq!((term.loss, term.gradient, term.clipped_high), (-1.28, vec![0.0], 1));
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
            let row = Row { current: vec![-1.0], old: vec![-1.0], reference: None, advantage };
            let objective = Objective { clip: Clip { low, high }, delta, ..Objective::dapo() };
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

/// The constants of the papers.
#[test]
fn papers() {
    let constants = |objective: Objective| (objective.clip.low, objective.clip.high, objective.beta);
    assert_eq!(constants(Objective::grpo()), (0.2, 0.2, 0.04));
    assert_eq!(constants(Objective::bnpo()), (0.2, 0.2, 0.04));
    assert_eq!(constants(Objective::dapo()), (0.2, 0.28, 0.0));
    assert_eq!(constants(Objective::dr_grpo(4)), (0.2, 0.2, 0.0));
    assert_eq!(constants(Objective::gspo()), (3e-4, 4e-4, 0.0));
    let ratios = objectives().map(|objective| objective.ratio);
    assert_eq!(ratios, [Ratio::Token, Ratio::Token, Ratio::Token, Ratio::Token, Ratio::Sequence]);
    let normalizations = objectives().map(|objective| objective.normalization);
    let (completion, token) = (Normalization::Completion, Normalization::Token);
    assert_eq!(normalizations, [completion, token, token, Normalization::MaxLength(4), completion]);
}
