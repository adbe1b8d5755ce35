//! The constants of the papers.

use grpo_core::{Advantage, Aggregation, Ddof, Kl, Normalization, Objective, Ratio, Recipe, Surrogate};

pub(crate) fn recipes() -> [Recipe; 10] {
    [
        Recipe::grpo(),
        Recipe::bnpo(),
        Recipe::dapo(4),
        Recipe::dr_grpo(4),
        Recipe::gspo(),
        Recipe::cispo(4),
        Recipe::sapo(),
        Recipe::luspo(),
        Recipe::vespo(),
        Recipe::gdpo(),
    ]
}

#[test]
fn objectives() {
    let clipped = |low, high| Surrogate::Clipped { low, high, delta: None };
    let all = recipes().map(|recipe| {
        let Objective { ratio, surrogate, beta, normalization, .. } = recipe.objective;
        (ratio, surrogate, beta, normalization)
    });
    let (token, sequence) = (Ratio::Token, Ratio::Sequence);
    use Normalization::{Completion, MaxLength, Sum, Token};
    let sapo = Surrogate::Sapo { temperature_pos: 1.0, temperature_neg: 1.05 };
    let vespo = Surrogate::Vespo { k_pos: 2.0, lambda_pos: 3.0, k_neg: 3.0, lambda_neg: 2.0 };
    assert_eq!(
        all,
        [
            (token, clipped(0.2, 0.2), 0.04, Completion),
            (token, clipped(0.2, 0.2), 0.04, Token),
            (token, clipped(0.2, 0.28), 0.0, Token),
            (token, clipped(0.2, 0.2), 0.0, MaxLength(4)),
            (sequence, clipped(3e-4, 4e-4), 0.0, Completion),
            (token, Surrogate::Cispo { max: 5.0 }, 0.0, Token),
            (token, sapo, 0.0, Completion),
            (sequence, clipped(3e-4, 4e-4), 0.0, Sum),
            (token, vespo, 0.0, Token),
            (token, clipped(0.2, 0.2), 0.04, Completion),
        ]
    );
    for Recipe { objective, .. } in recipes() {
        assert_eq!(objective.kl, Kl::K3);
        assert!(objective.off_policy_threshold.is_none() && objective.top_entropy_quantile == 1.0);
    }
}

/// What goes with the loss: nothing beyond GRPO's but where a paper says so.
#[test]
fn beside_the_objective() {
    let grpo = Recipe::grpo();
    assert_eq!(grpo, Recipe::default());
    assert_eq!((grpo.advantage, grpo.aggregation), (Advantage::default(), Aggregation::SumThenNormalize));
    assert_eq!((grpo.max_redraws, grpo.soft_overlong_cache), (0, None));
    assert!(!grpo.mask_truncated_completions);

    let with_objective = |objective| Recipe { objective, ..grpo.clone() };
    for recipe in [Recipe::bnpo(), Recipe::gspo(), Recipe::sapo(), Recipe::luspo(), Recipe::vespo()] {
        assert_eq!(recipe, with_objective(recipe.objective.clone()));
    }
    for recipe in [Recipe::dapo(20480), Recipe::cispo(20480)] {
        let grpo = with_objective(recipe.objective.clone());
        assert_eq!(recipe, Recipe { max_redraws: 3, soft_overlong_cache: Some(4096), ..grpo });
    }
    let dr_grpo = Recipe::dr_grpo(4);
    let grpo_with = with_objective(dr_grpo.objective.clone());
    assert_eq!(dr_grpo, Recipe { advantage: Advantage::Centered, ..grpo_with });
    let gdpo = Recipe {
        advantage: Advantage::BatchScaled { ddof: Ddof::Sample },
        aggregation: Aggregation::NormalizeThenSum,
        ..grpo
    };
    assert_eq!(Recipe::gdpo(), gdpo);
}

#[cfg(feature = "serde")]
#[test]
fn recipes_are_read_as_they_were_written() {
    for recipe in recipes() {
        let json = serde_json::to_string(&recipe).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), recipe);
    }
}
