//! Groups whose completions all earned the same.

use grpo_core::{Asked, Completion, GroupReward, Message, Recipe};
use grpo_reward::Rubric;
use grpo_trainer::{
    CompletionRecord, Problem, ProblemText, Qwen2PolicyConfig, Trainer, TrainerConfig, TrainerError,
};

use crate::common::{config, even, fingerprint, policy, problems, trainer_of, without_kl};

#[test]
fn a_group_without_a_signal_changes_nothing_and_costs_nothing() {
    let mut trainer = trainer_of(without_kl(), |_: &u32, _: &Completion| 0.1).unwrap();
    let before = fingerprint(&trainer);
    let (experiences, _) = trainer.roll_out(&problems()).unwrap();
    let metrics = trainer.learn(&experiences).unwrap();
    assert_eq!((metrics.loss, metrics.grad_norm, metrics.frac_reward_zero_std), (0.0, 0.0, 1.0));
    // No forward pass: nothing was compared with the sampler, no entropy was seen.
    assert_eq!((metrics.sampling_logp_difference_max, metrics.entropy), (0.0, None));
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
            let others = (0..n).map(|i| Problem {
                id: id(i),
                prompt: vec![40, 50],
                messages: vec![],
                truth: (id(i) % 2) as u32,
            });
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

/// Partial rewards differ in groups whose answers are all wrong: they are no reason to keep a group, and teach nothing in one that
/// could not be replaced.
#[test]
fn dynamic_sampling_looks_at_the_outcome() {
    let right = |truth: &u32, completion: &Completion| {
        let even = completion.text.chars().filter(|c| u32::from(*c) % 2 == 0).count();
        if *truth == 1 && even % 2 == 0 { 2.0 } else { 0.0 }
    };
    let rubric = || Rubric::new().with("form", 0.5, even).with("right", 1.0, right);
    let start = |redraw_reward: Option<&str>| {
        let recipe = Recipe { max_redraws: 1, ..without_kl().recipe };
        let redraw_reward = redraw_reward.map(str::to_string);
        let config = TrainerConfig { recipe, redraw_reward, ..config() };
        Trainer::new(policy(&Qwen2PolicyConfig::default()), rubric(), config)
    };
    let others = |n: usize| {
        // The first two can be answered, the rest cannot.
        let problem = |i: usize| Problem {
            id: 10 + i as u64,
            prompt: vec![40, 50],
            messages: vec![],
            truth: u32::from(i < 2),
        };
        Ok::<_, TrainerError>((0..n).map(problem).collect())
    };
    let mut trainer = start(None).unwrap();
    let (experiences, _) = trainer.roll_out_dynamic(&problems(), others).unwrap();
    let ids: Vec<u64> = experiences.groups.iter().map(|group| group.problem).collect();
    assert_eq!(ids, [10, 11, 2]);
    assert_eq!(experiences.groups.iter().map(|g| g.has_signal()).collect::<Vec<_>>(), [true, true, false]);
    assert!(experiences.groups[2].completions.iter().any(|e| e.scored.scores.total > 0.0));
    assert_eq!(trainer.learn(&experiences).unwrap().frac_reward_zero_std, 1.0 / 3.0);

    // Another reward can be named.
    let (experiences, _) = start(Some("form")).unwrap().roll_out_dynamic(&problems(), others).unwrap();
    assert_eq!(experiences.groups.iter().map(|group| group.problem).collect::<Vec<_>>(), [0, 1, 2]);
    let error = start(Some("correct")).err().unwrap().to_string();
    assert!(error.contains("`redraw_reward` is correct"), "{error}");
}

/// Half the group's completions, and none where the question says so.
struct Partial;

impl GroupReward<u32> for Partial {
    fn score_group(&self, asked: &Asked<'_, u32>, all: &[Completion]) -> Result<Vec<Option<f32>>, String> {
        let abstains = |i: usize| asked.question() == "none" || i >= all.len() / 2;
        Ok((0..all.len()).map(|i| (!abstains(i)).then_some(i as f32)).collect())
    }
}

#[test]
fn completions_that_no_reward_scores_teach_nothing_and_count_nowhere() {
    let rubric = || Rubric::new().with_group("partial", 1.0, Partial);
    let mut trainer = Trainer::new(policy(&Qwen2PolicyConfig::default()), rubric(), without_kl()).unwrap();
    let mut problems = problems();
    problems[2].messages = vec![Message::new("user", "none")];
    let (experiences, _) = trainer.roll_out(&problems).unwrap();
    for (i, group) in experiences.groups.iter().enumerate() {
        let advantages: Vec<f32> = group.completions.iter().map(|e| e.advantage).collect();
        let expected = without_kl().recipe.advantage.of_group(&[0.0, 1.0, 2.0]);
        let expected = if i == 2 { [0.0; 6].to_vec() } else { [&expected[..], &[0.0; 3]].concat() };
        assert_eq!(advantages, expected, "group {i}");
    }
    // The record has null for it, and is read again.
    let records = CompletionRecord::of_step(1, &experiences, trainer.rubric(), |_| ProblemText::default());
    let lines: Vec<CompletionRecord> = records
        .iter()
        .map(|record| serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap())
        .collect();
    assert_eq!((lines[1].reward, lines[1].rewards["partial"]), (1.0, 1.0));
    assert!(lines[3].reward.is_nan() && lines[3].rewards["partial"].is_nan());
    let metrics = trainer.learn(&experiences).unwrap();
    assert_eq!((metrics.reward, metrics.rewards["rewards/partial/mean"]), (1.0, 1.0));
    assert_eq!(metrics.rewards["rewards/partial/group_std"], 1.0);
    assert!(metrics.grad_norm > 0.0 && metrics.frac_reward_zero_std == 1.0 / 3.0);

    // Where it abstains from a whole step, the reward has no metrics.
    problems.iter_mut().for_each(|problem| problem.messages = vec![Message::new("user", "none")]);
    let (experiences, _) = trainer.roll_out(&problems).unwrap();
    let metrics = trainer.learn(&experiences).unwrap();
    assert!(metrics.rewards.is_empty() && metrics.reward == 0.0, "{:?}", metrics.rewards);
    assert_eq!(metrics.frac_reward_zero_std, 1.0);
}
