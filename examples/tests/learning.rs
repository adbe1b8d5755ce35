//! The embedded model learns, and only from rewards that mean something.
//!
//! ```text
//! cargo test --release --test learning -- --ignored
//! ```

use grpo::Paper;
use grpo_examples::embedded;
use grpo_examples::study::{Plan, Run, Subject, TestResult, Variant};

mod common;

/// The whole run, measured at both ends.
fn whole() -> Plan {
    let steps = embedded::STEPS;
    Plan { steps, every: steps, problems: usize::MAX }
}

/// The first and the last score of the first test.
fn change(run: &Run) -> (TestResult, TestResult) {
    let test = &run.scores[0].test;
    let mut scores = run.scores.iter().filter(|score| score.test == *test);
    let first = scores.next().unwrap().clone();
    (first, scores.next_back().unwrap().clone())
}

#[test]
#[ignore = "takes minutes"]
fn grpo_raises_the_accuracy_by_thirty_points() {
    let run = Variant::Of(Paper::Grpo).run(&Subject::Embedded, 0, &whole()).unwrap();
    let (before, after) = change(&run);
    assert!(after.correct.value() >= before.correct.value() + 0.3, "{before:?} {after:?}");
    assert!(after.correct.interval().0 > before.correct.interval().1, "{before:?} {after:?}");
    assert!(after.format.value() > 0.97, "{after:?}");
    assert!(run.seconds < 300.0, "{} s", run.seconds);
}

#[test]
#[ignore = "takes minutes"]
fn shuffled_rewards_teach_nothing() {
    let (before, after) = change(&Variant::Shuffled.run(&Subject::Embedded, 0, &whole()).unwrap());
    assert!(after.correct.interval().0 <= before.correct.value(), "{before:?} {after:?}");
}

#[test]
#[ignore = "takes a minute"]
fn a_reward_of_ones_own_is_learned() {
    let shown = common::succeed(&mut common::example("custom_reward"));
    let rewards: Vec<f64> =
        shown.lines().filter_map(|line| line.split_once("mean reward ")?.1.parse().ok()).collect();
    assert!(rewards.last().unwrap() - rewards[0] > 0.3, "{shown}");
}

#[test]
fn a_run_of_few_steps_is_measured() {
    let objectives = Paper::ALL.into_iter().map(Variant::Of);
    for variant in objectives.chain([Variant::Beta0, Variant::Ddof1, Variant::Shuffled, Variant::Lora]) {
        let run = variant.run(&Subject::Embedded, 3, &Plan { steps: 1, every: 1, problems: 8 }).unwrap();
        assert_eq!((run.rewards.len(), run.scores.len()), (1, 4));
        let keeps_near = [Paper::Grpo, Paper::Bnpo, Paper::Gdpo].map(Variant::Of);
        let tied = keeps_near.contains(&variant)
            || [Variant::Ddof1, Variant::Shuffled, Variant::Lora].contains(&variant);
        assert_eq!(run.kl.is_some(), tied, "{variant:?}");
    }
}
