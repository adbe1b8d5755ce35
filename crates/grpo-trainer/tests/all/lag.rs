//! Completions of the next step are sampled while this one is learned from.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use grpo_qwen2::LoraConfig;
use grpo_reward::Rubric;
use grpo_rollout::{Ended, RemoteError, Request, RolloutError, Rollouts, Sampler};
use grpo_trainer::{
    Experiences, Metrics, Qwen2PolicyConfig, RolloutTimes, TrainedQwen2, Trainer, TrainerConfig,
};

use crate::common::{Run, config, even, policy, problems, trainer, trainer_with};

fn lagging() -> TrainerConfig {
    TrainerConfig { lag: 1, ..config() }
}

fn roll_out(trainer: &Run) -> (Experiences, RolloutTimes) {
    trainer.roll_out(&problems()).unwrap()
}

/// The samples of a rollout.
fn samples(experiences: &Experiences) -> Vec<&grpo_rollout::Sample> {
    experiences.iter().map(|experience| &experience.scored.sample).collect()
}

/// Takes steps, each of which samples the completions of the next one; the metrics, and the last rollout.
fn steps(trainer: &mut Run, n: usize) -> (Vec<Metrics>, Experiences) {
    let (mut experiences, _) = roll_out(trainer);
    let mut metrics = Vec::new();
    for _ in 0..n {
        metrics.push(trainer.learn_and_sample(&experiences, &problems()).unwrap());
        experiences = roll_out(trainer).0;
    }
    (metrics, experiences)
}

/// A model whose weights never move takes the same number of steps: the keys are the same, and the policy is the first one.
#[test]
fn the_policy_before_the_update_samples() {
    let lora = Qwen2PolicyConfig { lora: Some(LoraConfig::default()), ..Qwen2PolicyConfig::default() };
    for of_policy in [Qwen2PolicyConfig::default(), lora] {
        let mut lagging = trainer_with(lagging(), &of_policy);
        let (_, ahead) = steps(&mut lagging, 1);
        let mut still = trainer_with(TrainerConfig { learning_rate: 0.0, ..config() }, &of_policy);
        still.learn(&roll_out(&still).0).unwrap();
        let (expected, _) = roll_out(&still);
        assert_eq!((ahead.lag, expected.lag), (1, 0));
        assert_eq!(samples(&ahead), samples(&expected));
    }
}

#[test]
fn the_loss_corrects_for_the_lag_and_the_record_tells() {
    let (metrics, _) = steps(&mut trainer(lagging()), 3);
    let mut plain = trainer(config());
    let first = plain.step(&problems()).unwrap();
    assert_eq!(
        Metrics { lag: None, ..metrics[0].clone() },
        first,
        "the first step has nothing to lag behind"
    );
    assert_eq!(metrics.iter().map(|metrics| metrics.lag).collect::<Vec<_>>(), [Some(0), Some(1), Some(1)]);
    for metrics in &metrics[1..] {
        assert!(metrics.sampling_logp_difference_max > 1e-3, "{metrics:?}");
        assert!(metrics.importance_sampling_ratio_mean.is_some_and(|mean| (mean - 1.0).abs() > 1e-6));
    }
}

#[test]
fn other_problems_are_sampled_when_they_come() {
    let mut trainer = trainer(lagging());
    let (experiences, _) = roll_out(&trainer);
    trainer.learn_and_sample(&experiences, &problems()[..2]).unwrap();
    assert_eq!(roll_out(&trainer).0.lag, 0);
    assert_eq!(trainer.roll_out(&problems()[..2]).unwrap().0.lag, 1);
    // They are of this step alone.
    trainer.learn(&experiences).unwrap();
    assert_eq!(trainer.roll_out(&problems()[..2]).unwrap().0.lag, 0);
}

#[test]
fn time_that_sampling_took_beside_learning_is_no_part_of_the_step() {
    let mut trainer = trainer(lagging());
    let (experiences, times) = roll_out(&trainer);
    assert!(times.ahead.is_zero() && !times.generate.is_zero());
    trainer.learn_and_sample(&experiences, &problems()).unwrap();
    let (experiences, times) = roll_out(&trainer);
    assert!(times.ahead == times.generate && !times.ahead.is_zero());
    let times = grpo_trainer::Times::new(times, experiences.tokens, std::time::Duration::ZERO);
    assert!(times.step_time < times.time_generate + times.time_reward + times.time_reference);
}

/// Fails the second time.
struct Failing(AtomicUsize);

impl Rollouts<TrainedQwen2> for Failing {
    fn sample_each(
        &self,
        model: &TrainedQwen2,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        if self.0.fetch_add(1, Ordering::Relaxed) == 1 {
            return Err(RemoteError::new(std::io::Error::other("gone")).into());
        }
        sampler.sample_each(model.get(), requests, receive)
    }
}

#[test]
fn a_failure_of_sampling_costs_no_learning() {
    let mut failing = policy(&Qwen2PolicyConfig::default());
    failing.rollouts = Box::new(Failing(AtomicUsize::new(0)));
    let rubric = Rubric::new().with("even", 1.0, even);
    let (metrics, last) = steps(&mut Trainer::new(failing, rubric, lagging()).unwrap(), 2);
    assert_eq!((metrics[0].step, metrics[1].lag, last.lag), (1, Some(0), 1));
}
