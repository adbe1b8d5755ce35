//! Groups whose completions all earned the same.

use grpo_core::{Completion, Recipe};
use grpo_trainer::{Problem, TrainerConfig, TrainerError};

use crate::common::{config, even, fingerprint, problems, trainer_of, without_kl};

#[test]
fn a_group_without_a_signal_changes_nothing_and_costs_nothing() {
    let mut trainer = trainer_of(without_kl(), |_: &u32, _: &Completion| 0.1).unwrap();
    let before = fingerprint(&trainer);
    let (experiences, _) = trainer.roll_out(&problems()).unwrap();
    let metrics = trainer.learn(&experiences).unwrap();
    assert_eq!((metrics.loss, metrics.grad_norm, metrics.frac_reward_zero_std), (0.0, 0.0, 1.0));
    // No forward pass: nothing was compared with the sampler, no entropy was seen.
    assert_eq!((metrics.sampling_logp_difference_max, metrics.entropy), (0.0, 0.0));
    assert_eq!(fingerprint(&trainer), before);
}

/// A reward of which the first three problems know nothing: their groups have no signal.
fn of_others(truth: &u32, completion: &Completion) -> f32 {
    if *truth == 0 { 0.5 } else { even(truth, completion) }
}

#[test]
fn groups_without_a_signal_give_way_to_others() {
    let recipe = Recipe { max_redraws: 3, ..Recipe::grpo() };
    let config = TrainerConfig { recipe, ..config() };
    let mut trainer = trainer_of(config, of_others).unwrap();
    let mut asked = Vec::new();
    let mut next = 10;
    let (experiences, _) = trainer
        .roll_out_dynamic(&problems(), |n| {
            asked.push(n);
            let id = |i: usize| next + i as u64;
            // Every second one has no signal either.
            let others =
                (0..n).map(|i| Problem { id: id(i), prompt: vec![40, 50], truth: (id(i) % 2) as u32 });
            let others = others.collect();
            next += n as u64;
            Ok::<_, TrainerError>(others)
        })
        .unwrap();
    assert_eq!(asked, [3, 2, 1], "of ids 10 to 12 only 11 has a signal, of 13 and 14 only 13, then 15");
    let ids: Vec<u64> = experiences.groups.iter().map(|group| group.problem).collect();
    assert_eq!((ids, experiences.redrawn), (vec![11, 13, 15], 6));
    assert!(experiences.groups.iter().all(|group| group.has_signal()));

    // Of three groups that are kept and six that were drawn for them, all nine were sampled.
    let tokens = |prompt: usize| 6 * (prompt + 12) as u64;
    assert_eq!(experiences.tokens.sampled, 9 * tokens(0));
    assert_eq!(experiences.tokens.seen, tokens(3) + tokens(7) + 7 * tokens(2));
    let metrics = trainer.learn(&experiences).unwrap();
    assert_eq!((metrics.redrawn_groups, metrics.num_tokens), (Some(6), experiences.tokens.seen));

    // The bound holds, and where there are no more problems, groups stay as they are.
    let (kept, _) = trainer.roll_out_dynamic(&problems(), |_| Ok::<_, TrainerError>(vec![])).unwrap();
    assert_eq!(kept.groups.iter().map(|group| group.problem).collect::<Vec<_>>(), [0, 1, 2]);
}
