//! What is minimised, and what rewards are compared by.

use burn::tensor::DType;
use grpo_core::{Bound, Completion, Finish, Level, Objective, Recipe, SamplerCorrection, Surrogate};
use grpo_reward::Rubric;
use grpo_trainer::{
    EvaluationOptions, Experience, Problem, Qwen2PolicyConfig, ReferenceSync, Trainer, TrainerConfig,
    TrainerError,
};

use crate::common::{config, even, fingerprint, half, of, policy, problems, trainer, trainer_with};

#[test]
fn the_kl_term_keeps_the_policy_near_the_reference() {
    // Slow enough that the noise of single steps is small beside what the term does.
    let distance = |beta, seed| {
        let objective = Objective { beta, ..Objective::default() };
        let mut trainer = trainer(TrainerConfig { seed, learning_rate: 3e-4, ..of(objective) });
        let start = fingerprint(&trainer);
        let kls: Vec<Option<f64>> = (0..12).map(|_| trainer.step(&problems()).unwrap().kl).collect();
        assert_eq!(
            kls[0].map(|kl| kl.abs() < 1e-6),
            (beta > 0.0).then_some(true),
            "a fresh policy is its reference"
        );
        fingerprint(&trainer).iter().zip(&start).map(|(a, b)| (a - b).abs()).sum::<f32>()
    };
    for seed in 0..4 {
        let (free, tied) = (distance(0.0, seed), distance(5.0, seed));
        assert!(tied < 0.6 * free, "seed {seed}: moved by {free} without and {tied} with a KL term");
    }
}

#[test]
fn further_updates_use_the_ratio_to_the_old_policy() {
    let mut trainer = trainer(TrainerConfig { updates: 4, learning_rate: 1e-2, ..config() });
    let metrics = trainer.step(&problems()).unwrap();
    assert!(
        metrics.clip_ratio_region_mean > Some(0.0),
        "four large updates leave the trust region: {metrics:?}"
    );
    assert!(
        metrics.sampling_logp_difference_max < 1e-3,
        "the sampler is compared before the first update only"
    );
}

/// Every paper teaches the task, with all that it prescribes, over the same fifteen steps.
#[test]
fn every_recipe_learns() {
    let of = |objective| Recipe { objective, ..Recipe::grpo() };
    for recipe in [
        Recipe::bnpo(),
        Recipe::dapo(12),
        Recipe::dr_grpo(12),
        Recipe::gspo(),
        Recipe::cispo(12),
        Recipe::sapo(),
        Recipe::luspo(),
        Recipe::vespo(),
        Recipe::gdpo(),
        of(Objective { top_entropy_quantile: 0.5, ..Recipe::dapo(12).objective }),
        of(Objective { off_policy_threshold: Some(0.1), ..Recipe::gspo().objective }),
    ] {
        let mut trainer = trainer(TrainerConfig { recipe: recipe.clone(), updates: 2, ..config() });
        let options = EvaluationOptions::sampled(30);
        for step in 0..15 {
            let id = |i: usize| 100 + 10 * step + i as u64;
            let others = |n| (0..n).map(|i| Problem { id: id(i), ..problems()[i].clone() }).collect();
            let (experiences, _) =
                trainer.roll_out_dynamic(&problems(), |n| Ok::<_, TrainerError>(others(n))).unwrap();
            trainer.learn(&experiences).unwrap();
        }
        let after = trainer.evaluate(&problems(), &options).unwrap();
        let even = after.answers.iter().map(|answer| f64::from(answer.scores.each[0])).sum::<f64>();
        let mean = even / after.answers.len() as f64;
        assert!(mean > 0.8, "{recipe:?}: the mean reward is {mean}");
    }
}

#[test]
fn truncated_completions_are_compared_but_not_trained_on() {
    let objective = Recipe::dapo(12).objective;
    let recipe = Recipe { objective, mask_truncated_completions: true, ..Recipe::grpo() };
    let mut trainer = trainer(TrainerConfig { recipe, ..config() });
    let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
    let kept = [(0, 1), (0, 4), (2, 5)];
    for (g, group) in experiences.groups.iter_mut().enumerate() {
        for (s, experience) in group.completions.iter_mut().enumerate() {
            let ended = kept.contains(&(g, s));
            experience.scored.sample.finish = if ended { Finish::Stop } else { Finish::Length };
        }
    }
    let metrics = trainer.learn(&experiences).unwrap();
    // With ratios of 1, the loss is minus the mean advantage over the tokens that are left.
    let of_kept = |value: fn(&Experience) -> f64| -> f64 {
        kept.iter().map(|(g, s)| value(&experiences.groups[*g].completions[*s])).sum()
    };
    let tokens = of_kept(|e| e.scored.sample.tokens.len() as f64);
    let sum = of_kept(|e| e.scored.sample.tokens.len() as f64 * f64::from(e.advantage));
    assert!(sum.abs() > 0.1 && (metrics.loss + sum / tokens).abs() < 1e-4, "{} {sum}", metrics.loss);
    assert!(metrics.grad_norm > 0.0);

    // Where all are cut off there is nothing to learn, and nothing is moved.
    let before = fingerprint(&trainer);
    experiences.groups.iter_mut().flat_map(|group| &mut group.completions).for_each(|e| {
        e.scored.sample.finish = Finish::Length;
    });
    let metrics = trainer.learn(&experiences).unwrap();
    assert_eq!((metrics.loss, metrics.grad_norm), (0.0, 0.0));
    assert_eq!(fingerprint(&trainer), before);
}

#[test]
fn advantages_can_be_scaled_by_the_batch_and_rewards_normalized_apart() {
    let config = TrainerConfig { recipe: Recipe::gdpo(), ..config() };
    let length = |_: &u32, completion: &Completion| 100.0 * even(&0, completion).powi(2);
    let rubric = Rubric::new().with("even", 1.0, even).with("much", 1.0, length);
    let trainer = Trainer::new(policy(&Qwen2PolicyConfig::default()), rubric, config).unwrap();
    let advantages: Vec<f64> =
        trainer.roll_out(&problems()).unwrap().0.iter().map(|e| f64::from(e.advantage)).collect();
    let n = advantages.len() as f64;
    let squares: f64 = advantages.iter().map(|a| a * a).sum();
    assert!(advantages.iter().sum::<f64>().abs() < 1e-4, "{advantages:?}");
    assert!((squares / (n - 1.0) - 1.0).abs() < 1e-3, "the deviation of all is 1: {advantages:?}");
}

#[test]
fn the_reference_follows_the_policy() {
    let sync = ReferenceSync { steps: 2, mixup_alpha: 1.0 };
    let mut trainer = trainer(TrainerConfig { reference_sync: Some(sync), ..config() });
    let kls: Vec<f64> = (0..5).map(|_| trainer.step(&problems()).unwrap().kl.unwrap()).collect();
    // After the second and the fourth step the reference is the policy.
    let same: Vec<bool> = kls.iter().map(|kl| kl.abs() < 1e-6).collect();
    assert_eq!(same, [true, false, true, false, true], "{kls:?}");
}

/// The metrics of one step of an objective, at which all ratios are 1.
fn first_step(objective: Objective) -> serde_json::Value {
    let metrics = trainer(of(objective)).step(&problems()).unwrap();
    serde_json::to_value(metrics).unwrap()
}

#[test]
fn every_surrogate_has_its_own_metrics() {
    let has = |objective: Objective| {
        let metrics = first_step(objective);
        [
            "clip_ratio/region_mean",
            "cispo_clip_ratio",
            "vespo/phi_seq_mean",
            "off_policy_ratio",
            "redrawn_groups",
        ]
        .map(|name| metrics.get(name).and_then(|value| value.as_f64()).map(|value| (1e3 * value).round()))
    };
    assert_eq!(has(Objective::default()), [Some(0.0), None, None, None, None]);
    assert_eq!(has(Recipe::cispo(12).objective), [None, Some(0.0), None, None, None]);
    assert_eq!(has(Recipe::sapo().objective), [None; 5]);
    assert_eq!(has(Recipe::vespo().objective), [None, None, Some(1000.0), None, None]);
    let masked = Objective { off_policy_threshold: Some(0.5), ..Objective::default() };
    assert_eq!(has(masked), [Some(0.0), None, None, Some(0.0), None]);
    // A bound below every ratio: all that did better are at it.
    let low = Objective { surrogate: Surrogate::Cispo { max: 0.5 }, ..Recipe::cispo(12).objective };
    assert!(has(low)[1] > Some(200.0));
}

/// Far from the policy that it claims to be sampled by, what did worse is left out.
#[test]
fn completions_that_are_off_the_policy_are_masked() {
    let objective = Objective { off_policy_threshold: Some(0.5), ..Recipe::dapo(12).objective };
    // The gate before the first step would refuse such samples.
    let mut trainer = trainer(of(objective));
    trainer.step(&problems()).unwrap();
    let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
    let worse = experiences.iter().filter(|e| e.advantage < 0.0).count() as f64;
    // Only groups with a signal pass through the model.
    let trained = 6.0 * experiences.groups.iter().filter(|group| group.has_signal()).count() as f64;
    for experience in experiences.groups.iter_mut().flat_map(|group| &mut group.completions) {
        experience.scored.sample.logprobs.iter_mut().for_each(|old| *old += 1.0);
    }
    let metrics = trainer.learn(&experiences).unwrap();
    assert!((metrics.off_policy_ratio.unwrap() - worse / trained).abs() < 1e-9, "{metrics:?}");
}

#[test]
fn only_tokens_of_high_entropy_are_learned_from() {
    let objective = Objective { top_entropy_quantile: 0.25, ..Recipe::dapo(12).objective };
    let mut trainer = trainer(of(objective));
    let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
    // Twelve tokens each, of which three have more entropy than all others.
    for experience in experiences.groups.iter_mut().flat_map(|group| &mut group.completions) {
        experience.scored.sample.entropies = (0..12).map(|token| if token < 3 { 2.0 } else { 1.0 }).collect();
    }
    // With the advantages of one completion alone, ratios of 1 give a loss of minus its share of the tokens.
    for (i, experience) in experiences.groups.iter_mut().flat_map(|group| &mut group.completions).enumerate()
    {
        experience.advantage = if i == 0 { 2.0 } else { 0.0 };
    }
    let metrics = trainer.learn(&experiences).unwrap();
    // The two groups without a signal are in the divisor, as everything that was sampled is.
    let expected = -2.0 * 3.0 / (18.0 * 12.0);
    assert!((metrics.loss - expected).abs() < 1e-5, "{} {expected}", metrics.loss);
}

/// A sampler in half precision is not quite the policy. The loss knows: in the first update its ratios are 1, and the corrections are not.
#[test]
fn rollouts_in_half_precision_are_corrected_for_and_learned_from() {
    let correction = SamplerCorrection { level: Level::Token, bound: Bound::Truncate, min: 0.0, max: 1.02 };
    let Some(rollout_dtype) = half(correction) else { return };
    // F16 rounds an eighth as much.
    let least = if grpo_test_device::half() == Some(DType::BF16) { 1e-3 } else { 1e-4 };
    let rounded = Qwen2PolicyConfig { rollout_dtype, ..Qwen2PolicyConfig::default() };
    let mut trainer = trainer_with(TrainerConfig { updates: 2, ..config() }, &rounded);
    let metrics = trainer.step(&problems()).unwrap();
    assert!(metrics.sampling_logp_difference_max > least, "rounding shows: {metrics:?}");
    let range = [metrics.importance_sampling_ratio_min, metrics.importance_sampling_ratio_max];
    assert!(
        range[0] < Some(1.0 - least) && range[1] > Some(1.0 + least) && range[1] <= Some(1.02),
        "{range:?}"
    );
    let mean = metrics.importance_sampling_ratio_mean.unwrap();
    assert!((mean - 1.0).abs() < 0.01, "{mean}");
    for _ in 0..14 {
        trainer.step(&problems()).unwrap();
    }
    let after = trainer.evaluate(&problems(), &EvaluationOptions::sampled(30)).unwrap().reward;
    assert!(after > 0.9, "the mean reward is {after}");
}
