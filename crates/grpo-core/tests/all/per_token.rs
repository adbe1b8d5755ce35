//! Advantages that differ within a completion.

use grpo_core::{CompletionLoss, Objective, Ratio, Recipe, Surrogate};

use crate::recipe::recipes;
use crate::step::Row;

/// Ratios 1.35, 0.74, 1.35, 1, 0.61, with advantages of both signs, some of them equal.
fn mixed() -> Row {
    Row {
        current: vec![-1.0, -0.8, -2.0, -0.4, -1.5],
        old: vec![-1.3, -0.5, -2.3, -0.4, -1.0],
        reference: Some(vec![-1.1, -0.7, -1.9, -0.4, -1.2]),
        token_weights: Some(vec![1.0, 0.5, 2.0, 1.0, 0.7]),
        advantages: vec![1.5, 1.5, -0.5, 0.0, -2.0],
    }
}

fn assert_close(ours: f64, expected: f64) {
    assert!((ours - expected).abs() < 1e-12, "{ours}, expected {expected}");
}

fn assert_sums_to(whole: &CompletionLoss, parts: &[CompletionLoss], gradient: &[f64]) {
    assert_close(whole.loss, parts.iter().map(|part| part.loss).sum());
    for (ours, expected) in whole.gradient.iter().zip(gradient) {
        assert_close(*ours, *expected);
    }
}

/// With token ratios a completion is the sum of its tokens. (VESPO's factor is one for all of them.)
#[test]
fn with_token_ratios_each_token_is_a_completion_of_its_own() {
    let row = mixed();
    let tokens: Vec<Row> = (0..row.current.len())
        .map(|token| {
            let at = |list: &[f64]| vec![list[token]];
            Row {
                current: at(&row.current),
                old: at(&row.old),
                reference: row.reference.as_deref().map(at),
                token_weights: row.token_weights.as_deref().map(at),
                advantages: at(&row.advantages),
            }
        })
        .collect();
    for objective in recipes().map(|recipe| recipe.objective) {
        if objective.ratio == Ratio::Sequence || matches!(objective.surrogate, Surrogate::Vespo { .. }) {
            continue;
        }
        let whole = row.term(&objective);
        let parts: Vec<CompletionLoss> = tokens.iter().map(|token| token.term(&objective)).collect();
        assert_sums_to(&whole, &parts, &parts.iter().map(|part| part.gradient[0]).collect::<Vec<f64>>());
        let sum = |of: fn(&CompletionLoss) -> usize| parts.iter().map(of).sum::<usize>();
        assert_eq!(whole.n_ratios, 5);
        assert_eq!(whole.clipped_low, sum(|part| part.clipped_low));
        assert_eq!(whole.clipped_high, sum(|part| part.clipped_high));
        assert_close(whole.kl, parts.iter().map(|part| part.kl).sum());
    }
}

/// With any ratio: a token's surrogate is the one that it has where all tokens have its advantage.
#[test]
fn each_surrogate_has_its_own_advantage() {
    let row = mixed();
    let (n_tokens, token_weights) = (row.current.len(), row.token_weights.as_ref().unwrap());
    for off_policy_threshold in [None, Some(-0.1)] {
        for recipe in recipes() {
            let objective = Objective { beta: 0.0, off_policy_threshold, ..recipe.objective };
            let parts: Vec<CompletionLoss> = (0..n_tokens)
                .map(|token| {
                    let weight = |(other, weight): (usize, &f64)| if other == token { *weight } else { 0.0 };
                    let token_weights = Some(token_weights.iter().enumerate().map(weight).collect());
                    let advantages = vec![row.advantages[token]; n_tokens];
                    Row { token_weights, advantages, ..row.clone() }.term(&objective)
                })
                .collect();
            let gradient: Vec<f64> =
                (0..n_tokens).map(|token| parts.iter().map(|part| part.gradient[token]).sum()).collect();
            let whole = row.term(&objective);
            assert_sums_to(&whole, &parts, &gradient);
            assert_close(whole.phi, parts.iter().map(|part| part.phi).sum::<f64>() / parts.len() as f64);
            assert_eq!(whole.off_policy, off_policy_threshold.is_some());
        }
    }
}

/// One ratio, which is clipped for some tokens and not for others, is one clipped ratio.
#[test]
fn a_sequence_ratio_counts_once() {
    let objective = Recipe::gspo().objective;
    let counts = |shift: f64, advantages: &[f64]| {
        let row = Row {
            current: vec![-1.0; advantages.len()],
            old: vec![-1.0 - shift; advantages.len()],
            reference: None,
            token_weights: None,
            advantages: advantages.to_vec(),
        };
        let term = row.term(&objective);
        (term.n_ratios, term.clipped_low, term.clipped_high)
    };
    assert_eq!(counts(0.1, &[1.0, -1.0, 2.0]), (1, 0, 1));
    assert_eq!(counts(0.1, &[0.0, -1.0, -2.0]), (1, 0, 0));
    assert_eq!(counts(-0.1, &[1.0, -1.0, -2.0]), (1, 1, 0));
}

/// Only tokens with a negative advantage are left out, and there must be one.
#[test]
fn off_policy_tokens_have_no_surrogate() {
    let objective = Objective { beta: 0.0, off_policy_threshold: Some(-1.0), ..Objective::default() };
    let term = mixed().term(&objective);
    assert!(term.off_policy);
    assert_eq!((term.gradient[2], term.gradient[4]), (0.0, 0.0));
    assert!(term.gradient[1] != 0.0);
    let encouraged = Row { advantages: vec![1.5, 1.5, 0.5, 0.0, 2.0], ..mixed() };
    assert!(!encouraged.term(&objective).off_policy);
}
