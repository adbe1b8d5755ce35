//! What is refused, and what stops a run.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::DType;
use grpo_core::{Completion, Kl, Objective, Ratio, Recipe, SamplerCorrection, Surrogate};
use grpo_qwen2::LoraConfig;
use grpo_reward::Rubric;
use grpo_rollout::{Ended, Request, RolloutError, Rollouts, Sample, Sampler, Sampling};
use grpo_test_device::device;
use grpo_trainer::{
    AdamWConfig, Diagnosis, Metrics, Problem, Qwen2Policy, Qwen2PolicyConfig, Reference, ReferenceSync,
    RolloutDtype, Schedule, TrainedQwen2, Trainer, TrainerConfig, TrainerError,
};

use crate::common::{
    Counted, config, even, fingerprint, of, policy, problems, trainer, trainer_of, without_kl,
};

#[test]
fn bad_options_are_named() {
    let objective = Objective::default;
    let recipe = |recipe| TrainerConfig { recipe, ..config() };
    let synced = |sync| TrainerConfig { reference_sync: Some(sync), ..config() };
    let clipped = |delta| Surrogate::Clipped { low: 0.2, high: 0.2, delta };
    for (name, config) in [
        ("group_size", TrainerConfig { group_size: 0, ..config() }),
        ("group_size", TrainerConfig { group_size: 1, ..config() }),
        ("group_size", TrainerConfig { group_size: 1 << 17, ..config() }),
        ("redraw_reward", TrainerConfig { redraw_reward: Some("even".into()), ..config() }),
        ("max_redraws", recipe(Recipe { max_redraws: 1 << 13, ..Recipe::grpo() })),
        ("max_completion_length", TrainerConfig { max_completion_length: 0, ..config() }),
        ("updates", TrainerConfig { updates: 0, ..config() }),
        ("temperature", TrainerConfig { sampling: Sampling::greedy(), ..config() }),
        ("learning_rate", TrainerConfig { learning_rate: f64::NAN, ..config() }),
        ("max_grad_norm", TrainerConfig { max_grad_norm: 0.0, ..config() }),
        ("beta", of(Objective { beta: -1.0, ..objective() })),
        ("top_entropy_quantile", of(Objective { top_entropy_quantile: 1.5, ..objective() })),
        ("off_policy_mask_threshold", of(Objective { off_policy_threshold: Some(-1.0), ..objective() })),
        ("delta", of(Objective { surrogate: clipped(Some(0.0)), ..objective() })),
        ("epsilon_high", of(Objective { surrogate: Surrogate::Cispo { max: 0.0 }, ..objective() })),
        ("ref_model_sync_steps", synced(ReferenceSync { steps: 0, ..ReferenceSync::default() })),
        ("ref_model_mixup_alpha", synced(ReferenceSync { mixup_alpha: 2.0, ..ReferenceSync::default() })),
        ("ref_model_mixup_alpha", synced(ReferenceSync { mixup_alpha: 0.0, ..ReferenceSync::default() })),
        ("normalization", recipe(Recipe::dr_grpo(13))),
        ("soft_overlong_cache", recipe(Recipe { soft_overlong_cache: Some(13), ..Recipe::grpo() })),
        ("importance_sampling_level", of(Objective { ratio: Ratio::Sequence, ..Recipe::vespo().objective })),
        ("use_bias_correction_kl", of(Objective { kl: Kl::BiasCorrectedK3, beta: 0.0, ..objective() })),
        ("steps", TrainerConfig { schedule: Schedule::Linear { steps: 5 }, warmup_steps: 5, ..config() }),
    ] {
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains(name), "{name}: {message}");
    }
    // A trainer asks before it starts.
    let error = trainer_of(TrainerConfig { group_size: 1, ..config() }, even).err().unwrap();
    assert!(error.to_string().starts_with("option `group_size` is 1: "), "{error}");
}

#[test]
fn bad_options_of_a_policy_are_named() {
    let default = Qwen2PolicyConfig::default;
    let lora = |lora| Qwen2PolicyConfig { lora: Some(lora), ..default() };
    let rounded =
        |correction| Qwen2PolicyConfig { rollout_dtype: RolloutDtype::Bf16(correction), ..default() };
    let (correction, adapters) = (SamplerCorrection::default(), LoraConfig::default());
    let optimizer = |optimizer| Qwen2PolicyConfig { optimizer, ..default() };
    for (name, config) in [
        ("rollout_dtype", Qwen2PolicyConfig { lora: Some(adapters.clone()), ..rounded(correction) }),
        ("importance_sampling_clip_max", rounded(SamplerCorrection { max: 0.5, ..correction })),
        ("importance_sampling_clip_min", rounded(SamplerCorrection { min: -1.0, ..correction })),
        ("rank", lora(LoraConfig { rank: 0, ..adapters.clone() })),
        ("rank", lora(LoraConfig { rank: 1 << 17, ..adapters.clone() })),
        ("targets", lora(LoraConfig { targets: vec![], ..adapters })),
        ("adam_beta1", optimizer(AdamWConfig { beta1: 1.0, ..AdamWConfig::default() })),
        ("adam_epsilon", optimizer(AdamWConfig { epsilon: 0.0, ..AdamWConfig::default() })),
        ("weight_decay", optimizer(AdamWConfig { weight_decay: f32::NAN, ..AdamWConfig::default() })),
    ] {
        let message = config.validate().and_then(|()| config.validate_local()).unwrap_err().to_string();
        assert!(message.contains(name), "{name}: {message}");
    }
    // A policy asks before it loads.
    let bad = lora(LoraConfig { rank: 0, ..LoraConfig::default() });
    let error = Qwen2Policy::load(Path::new("nowhere"), &device(), &bad).err().unwrap();
    assert!(error.to_string().starts_with("option `rank` is 0: "), "{error}");
}

/// Such a device would compute with zeros, or convert whole matrices for each product.
#[test]
fn a_dtype_that_the_device_lacks_is_refused() {
    let correction = SamplerCorrection::default();
    for (name, dtype, rollout_dtype) in [
        ("BF16", DType::BF16, RolloutDtype::Bf16(correction)),
        ("F16", DType::F16, RolloutDtype::F16(correction)),
    ] {
        let config = Qwen2PolicyConfig { rollout_dtype, ..Qwen2PolicyConfig::default() };
        let loaded = Qwen2Policy::load(crate::common::checkpoint().path(), &device(), &config);
        assert_eq!(loaded.is_ok(), grpo_kernels::supports_matrices_in(&device(), dtype));
        if let Err(error) = loaded {
            assert!(error.to_string().contains(&format!("option `rollout_dtype` is {name}")), "{error}");
        }
    }
}

#[test]
fn a_setting_that_would_do_nothing_is_refused() {
    let adapters = Qwen2PolicyConfig { lora: Some(LoraConfig::default()), ..Qwen2PolicyConfig::default() };
    let synced = TrainerConfig { reference_sync: Some(ReferenceSync::default()), ..config() };
    let rubric = || Rubric::new().with("even", 1.0, even);
    let error = Trainer::new(policy(&adapters), rubric(), synced.clone()).err().unwrap().to_string();
    assert!(error.contains("sync_ref_model") && error.contains("cannot move"), "{error}");
    let error = TrainerConfig { ..of(Objective { beta: 0.0, ..Objective::default() }) };
    let error = TrainerConfig { reference_sync: synced.reference_sync, ..error }.validate().unwrap_err();
    assert!(error.to_string().contains("there is no reference to move"), "{error}");

    // A step has no other problems to draw.
    let dapo = || TrainerConfig { recipe: Recipe::dapo(12), ..config() };
    let error = trainer(dapo()).step(&problems()).unwrap_err().to_string();
    assert!(error.contains("max_redraws is 3") && error.contains("roll_out_dynamic"), "{error}");
    // A reference is for the KL term alone.
    let mut with_reference = policy(&Qwen2PolicyConfig::default());
    with_reference.reference = Some(Reference::freeze(&with_reference.model));
    let error = Trainer::new(with_reference, rubric(), without_kl()).err().unwrap().to_string();
    assert!(error.contains("`beta` is 0") && error.contains("reference"), "{error}");
    // The recipe brings a reward of this name along.
    let twice = rubric().with("overlong", 1.0, even);
    let error = Trainer::new(policy(&Qwen2PolicyConfig::default()), twice, dapo()).err().unwrap().to_string();
    assert!(
        error.contains("soft_overlong_cache") && error.contains("already has a reward `overlong`"),
        "{error}"
    );
    assert_eq!(trainer(dapo()).rubric().names().collect::<Vec<_>>(), ["even", "overlong"]);
}

#[test]
fn bad_problems_and_rewards_are_errors() {
    let mut trainer = trainer(config());
    assert!(matches!(trainer.step(&[]), Err(TrainerError::NoProblems)));
    let long = [Problem { id: 7, prompt: vec![3; 250], messages: vec![], truth: 0 }];
    let message = trainer.step(&long).unwrap_err().to_string();
    assert!(
        message.starts_with("problem 7: ") && message.contains("250 tokens") && message.contains("256"),
        "{message}"
    );

    let mut nan = trainer_of(config(), |_: &u32, _: &Completion| f32::NAN).unwrap();
    assert!(matches!(nan.step(&problems()), Err(TrainerError::Reward { problem: _, cause: _ })));
}

#[test]
fn a_sampler_that_disagrees_with_the_trainer_stops_the_first_step() {
    for shift in [2e-3, f32::NAN] {
        let mut trainer = trainer(config());
        let before = fingerprint(&trainer);
        let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
        experiences.groups[0].completions[1].scored.sample.logprobs[2] += shift;
        let error = trainer.learn(&experiences).unwrap_err();
        let TrainerError::Mismatch { problem: 0, sample: 1, token: 2, .. } = error else { panic!("{error}") };
        assert_eq!((trainer.steps(), fingerprint(&trainer)), (0, before));
    }
    let mut trainer = trainer(config());
    let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
    experiences.groups[0].completions[1].scored.sample.logprobs[2] += 1e-4;
    assert!(trainer.learn(&experiences).is_ok());
}

#[test]
fn a_loss_that_is_not_finite_is_skipped_and_ten_in_a_row_stop_the_run() {
    let mut trainer = trainer(without_kl());
    trainer.step(&problems()).unwrap();
    let before = fingerprint(&trainer);
    let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
    experiences.groups[1].completions[2].advantage = f32::NAN;
    let skipped = |metrics: Metrics| {
        let said = metrics.diagnoses.iter().any(|d| matches!(d, Diagnosis::NonFinite { .. }));
        assert_eq!(said, metrics.skipped_steps > 0);
        (metrics.skipped_steps, metrics.loss.is_finite())
    };
    for n in 1..10 {
        assert_eq!(skipped(trainer.learn(&experiences).unwrap()), (n, false));
        assert_eq!(fingerprint(&trainer), before, "a skipped step moves nothing");
    }
    assert!(matches!(trainer.learn(&experiences), Err(TrainerError::Diverged { skipped: 10 })));
    // A good step in between starts the count anew.
    let good = trainer.step(&problems()).unwrap();
    assert_eq!(skipped(good), (0, true));
    assert_ne!(fingerprint(&trainer), before);
}

#[test]
fn an_update_after_one_that_broke_the_policy_is_not_made() {
    let wild =
        TrainerConfig { updates: 4, learning_rate: 1e30, max_grad_norm: f64::INFINITY, ..without_kl() };
    let updates = Arc::new(AtomicUsize::new(0));
    let counted =
        policy(&Qwen2PolicyConfig::default()).map_optimizer(|adamw| Counted(updates.clone(), adamw));
    let mut trainer = Trainer::new(counted, Rubric::new().with("even", 1.0, even), wild).unwrap();
    let metrics = trainer.step(&problems()).unwrap();
    assert_eq!((metrics.skipped_steps, metrics.loss.is_finite()), (1, false));
    // The second update found no loss, and the third and fourth were not tried.
    assert_eq!(updates.load(Ordering::Relaxed), 1);
}

/// A sampler that leaves something out.
struct Forgetful(Change);

type Change = fn(&mut Vec<Vec<Sample>>);

impl Rollouts<TrainedQwen2> for Forgetful {
    fn sample_each(
        &self,
        model: &TrainedQwen2,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        sampler.sample_each(model.get(), requests, receive)
    }

    fn sample(
        &self,
        model: &TrainedQwen2,
        sampler: &Sampler,
        requests: &[Request<'_>],
    ) -> Result<Vec<Vec<Sample>>, RolloutError> {
        let mut samples = sampler.sample(model.get(), requests)?;
        (self.0)(&mut samples);
        Ok(samples)
    }
}

#[test]
fn samples_that_are_not_whole_are_refused() {
    let forgets: [(Change, &str); 3] = [
        (|groups| groups.truncate(2), "2 groups of samples where 3 are expected"),
        (|groups| groups[1].truncate(5), "5 samples of a group where 6 are expected"),
        (
            |groups| groups[2][3].logprobs.truncate(11),
            "11 log-probabilities of a sample where 12 are expected",
        ),
    ];
    for (forget, expected) in forgets {
        let mut policy = policy(&Qwen2PolicyConfig::default());
        policy.rollouts = Box::new(Forgetful(forget));
        let mut trainer = Trainer::new(policy, Rubric::new().with("even", 1.0, even), config()).unwrap();
        let message = trainer.step(&problems()).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}
