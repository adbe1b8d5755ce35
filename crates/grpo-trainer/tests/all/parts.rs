//! A part of a policy is replaced by itself: whoever replaces it names no other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use grpo_core::{Completion, Finish, SamplerCorrection};
use grpo_qwen2::ChatTokenizer;
use grpo_reward::Rubric;
use grpo_rollout::{Ended, Request, RolloutError, Rollouts, Sampler, SamplerKind};
use grpo_trainer::{Checkpoints, Qwen2Policy, Qwen2PolicyConfig, Text, TrainedQwen2, Trainer, TrainerError};

use crate::common::{Counted, config, even, policy, problems, trainer};

/// Another stop token.
struct StopsAt(u32, ChatTokenizer);

impl Text for StopsAt {
    fn stop(&self) -> &[u32] {
        std::slice::from_ref(&self.0)
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.1.decode(tokens)
    }
}

#[test]
fn text() {
    // A token that the first completion has.
    let (experiences, _) = trainer(config()).roll_out(&problems()).unwrap();
    let token = experiences.groups[0].completions[0].scored.sample.tokens[2];
    let stops = policy(&Qwen2PolicyConfig::default()).map_text(|text| StopsAt(token, text));
    let mut trainer = Trainer::new(stops, Rubric::new().with("even", 1.0, even), config()).unwrap();
    let (experiences, _) = trainer.roll_out(&problems()).unwrap();
    let first = &experiences.groups[0].completions[0];
    assert_eq!((first.scored.sample.finish, first.scored.sample.tokens.last()), (Finish::Stop, Some(&token)));
    trainer.learn(&experiences).unwrap();
    // It can be in a checkpoint all the same.
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path(), std::num::NonZeroUsize::MIN);
    trainer.save_checkpoint(&checkpoints, None).unwrap();
    let checkpoint = checkpoints.latest(1).unwrap().checkpoint.unwrap();
    assert_eq!(trainer.resume(&checkpoint).unwrap().0.steps(), 1);
}

#[test]
fn learning() {
    let updates = Arc::new(AtomicUsize::new(0));
    let counted =
        policy(&Qwen2PolicyConfig::default()).map_optimizer(|adamw| Counted(updates.clone(), adamw));
    let rubric = Rubric::new().with("even", 1.0, even);
    let twice = grpo_trainer::TrainerConfig { updates: 2, ..config() };
    let mut trainer = Trainer::new(counted, rubric, twice.clone()).unwrap();
    let metrics = trainer.step(&problems()).unwrap();
    assert_eq!(updates.load(Ordering::Relaxed), 2);
    let mut plain = crate::common::trainer(twice);
    assert_eq!(plain.step(&problems()).unwrap(), metrics, "nothing else has changed");
}

/// Samples from a model that does not follow the one in training, as a server may.
struct Stale(TrainedQwen2, Option<SamplerCorrection>);

impl Rollouts<TrainedQwen2> for Stale {
    fn sample_each(
        &self,
        _: &TrainedQwen2,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        sampler.sample_each(self.0.get(), requests, receive)
    }

    fn sampler_kind(&self) -> SamplerKind {
        SamplerKind::Remote { correction: self.1, entropies: true }
    }
}

#[test]
fn generation() {
    let [mut stale, other]: [Qwen2Policy; 2] = std::array::from_fn(|_| policy(&Qwen2PolicyConfig::default()));
    stale.rollouts = Box::new(Stale(other.model, Some(SamplerCorrection::default())));
    let odd = |_: &u32, completion: &Completion| 1.0 - even(&0, completion);
    let mut trainer = Trainer::new(stale, Rubric::new().with("odd", 1.0, odd), config()).unwrap();
    let metrics: Vec<_> = (0..3).map(|_| trainer.step(&problems()).unwrap()).collect();
    // At first it is the policy; then the policy has moved on, and the loss is corrected for it.
    assert!(metrics[0].sampling_logp_difference_max < 1e-3, "{:?}", metrics[0]);
    assert!(metrics[2].sampling_logp_difference_max > 1e-3, "{:?}", metrics[2]);
    assert!(metrics[2].importance_sampling_ratio_mean.is_some_and(|mean| (mean - 1.0).abs() > 1e-6));
}

/// Otherwise a server that is left with an earlier policy would go unnoticed: the first step is right.
#[test]
fn a_remote_sampler_is_compared_in_every_step() {
    let [mut stale, other]: [Qwen2Policy; 2] = std::array::from_fn(|_| policy(&Qwen2PolicyConfig::default()));
    stale.rollouts = Box::new(Stale(other.model, None));
    let odd = |_: &u32, completion: &Completion| 1.0 - even(&0, completion);
    let mut trainer = Trainer::new(stale, Rubric::new().with("odd", 1.0, odd), config()).unwrap();
    trainer.step(&problems()).unwrap();
    let error = trainer.step(&problems()).unwrap_err();
    assert!(matches!(error, TrainerError::Mismatch { .. }), "{error}");
    assert_eq!(trainer.steps(), 1);
}

/// A run may be anywhere: on a thread of its own, say.
#[test]
fn a_trainer_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<Trainer<Qwen2Policy, String>>();
}
