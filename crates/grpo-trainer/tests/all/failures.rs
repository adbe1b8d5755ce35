//! What is refused, and what stops a run.

use grpo_core::{Completion, Objective, SamplerCorrection, Surrogate};
use grpo_qwen2::{Group, LoraConfig};
use grpo_reward::Rubric;
use grpo_rollout::Sampling;
use grpo_trainer::{
    Diagnosis, Metrics, Policy, Problem, Qwen2Policy, ReferenceSync, Trainer, TrainerConfig, TrainerError,
};

use crate::common::{config, even, fingerprint, policy, problems, trainer, trainer_of};

#[test]
fn bad_options_are_named() {
    let refused = |config: TrainerConfig| config.validate().unwrap_err().to_string();
    let of = |objective| TrainerConfig { objective, ..config() };
    let synced = |sync| TrainerConfig { reference_sync: Some(sync), ..config() };
    let corrected = |sampler_correction| TrainerConfig { sampler_correction, ..config() };
    let clipped = |delta| Surrogate::Clipped { low: 0.2, high: 0.2, delta };
    for (name, config) in [
        ("group_size", TrainerConfig { group_size: 0, ..config() }),
        ("group_size", TrainerConfig { group_size: 1, ..config() }),
        ("group_size", TrainerConfig { group_size: 1 << 17, ..config() }),
        ("max_redraws", TrainerConfig { max_redraws: 1 << 13, ..config() }),
        ("max_completion_length", TrainerConfig { max_completion_length: 0, ..config() }),
        ("updates", TrainerConfig { updates: 0, ..config() }),
        ("temperature", TrainerConfig { sampling: Sampling::greedy(), ..config() }),
        ("learning_rate", TrainerConfig { learning_rate: f64::NAN, ..config() }),
        ("beta", TrainerConfig { objective: Objective { beta: -1.0, ..Objective::grpo() }, ..config() }),
        ("max_grad_norm", TrainerConfig { max_grad_norm: 0.0, ..config() }),
        ("top_entropy_quantile", of(Objective { top_entropy_quantile: 1.5, ..Objective::grpo() })),
        (
            "off_policy_mask_threshold",
            of(Objective { off_policy_threshold: Some(-1.0), ..Objective::grpo() }),
        ),
        ("delta", of(Objective { surrogate: clipped(Some(0.0)), ..Objective::grpo() })),
        ("epsilon_high", of(Objective { surrogate: Surrogate::Cispo { max: 0.0 }, ..Objective::cispo() })),
        ("ref_model_sync_steps", synced(ReferenceSync { steps: 0, ..ReferenceSync::default() })),
        ("ref_model_mixup_alpha", synced(ReferenceSync { mixup_alpha: 2.0, ..ReferenceSync::default() })),
        (
            "sync_ref_model",
            TrainerConfig { lora: Some(LoraConfig::default()), ..synced(ReferenceSync::default()) },
        ),
        (
            "narrow_rollouts",
            TrainerConfig { lora: Some(LoraConfig::default()), narrow_rollouts: true, ..config() },
        ),
        (
            "importance_sampling_clip_max",
            corrected(SamplerCorrection { max: 0.5, ..SamplerCorrection::default() }),
        ),
        (
            "importance_sampling_clip_min",
            corrected(SamplerCorrection { min: -1.0, ..SamplerCorrection::default() }),
        ),
        ("rank", TrainerConfig { lora: Some(LoraConfig { rank: 0, ..LoraConfig::default() }), ..config() }),
        (
            "rank",
            TrainerConfig { lora: Some(LoraConfig { rank: 1 << 17, ..LoraConfig::default() }), ..config() },
        ),
        (
            "targets",
            TrainerConfig { lora: Some(LoraConfig { targets: vec![], ..LoraConfig::default() }), ..config() },
        ),
    ] {
        let message = refused(config);
        assert!(message.contains(name), "{name}: {message}");
    }
    // A trainer asks before it starts.
    let error = trainer_of(TrainerConfig { group_size: 1, ..config() }, even).err().unwrap();
    assert!(matches!(error, TrainerError::InvalidOption { option: "group_size", .. }), "{error}");
}

#[test]
fn bad_problems_and_rewards_are_errors() {
    let mut trainer = trainer(config());
    assert!(matches!(trainer.step(&[]), Err(TrainerError::NoProblems)));
    let long = [Problem { id: 7, prompt: vec![3; 250], truth: 0 }];
    let message = trainer.step(&long).unwrap_err().to_string();
    assert!(
        message.starts_with("problem 7: ") && message.contains("250 tokens") && message.contains("256"),
        "{message}"
    );

    let without = TrainerConfig { objective: Objective { beta: 0.0, ..Objective::grpo() }, ..config() };
    let rubric = Rubric::new().with("even", 1.0, even);
    let error = Trainer::new(policy(&without), rubric, config()).err().unwrap();
    assert!(matches!(error, TrainerError::NoReference { .. }), "{error}");

    let mut nan = trainer_of(config(), |_: &u32, _: &Completion| f32::NAN).unwrap();
    assert!(matches!(nan.step(&problems()), Err(TrainerError::Reward(_))));
}

/// A policy whose training pass disagrees with its sampler, or whose log-probabilities are not numbers.
struct Broken {
    inner: Qwen2Policy,
    shift: f32,
    updates: usize,
}

impl grpo_rollout::Decoder for Broken {
    type Cache = grpo_qwen2::KvCache;
    fn context(&self) -> usize {
        self.inner.context()
    }
    fn vocabulary(&self) -> usize {
        self.inner.vocabulary()
    }
    fn prefill(&self, prompts: &[&[u32]], capacity: usize) -> (Self::Cache, burn::tensor::Tensor<2>) {
        self.inner.prefill(prompts, capacity)
    }
    fn decode(&self, tokens: &[u32], cache: &mut Self::Cache) -> burn::tensor::Tensor<2> {
        self.inner.decode(tokens, cache)
    }
    fn select(&self, cache: Self::Cache, rows: &[usize]) -> Self::Cache {
        self.inner.select(cache, rows)
    }
}

impl Policy for Broken {
    type Pass = grpo_qwen2::Pass;
    fn stop(&self) -> &[u32] {
        self.inner.stop()
    }
    fn detokenize(&self, tokens: &[u32]) -> String {
        self.inner.detokenize(tokens)
    }
    fn forward(&self, groups: &[Group<'_>], temperature: f32) -> (Vec<grpo_qwen2::Scores>, Self::Pass) {
        let (mut scores, pass) = self.inner.forward(groups, temperature);
        scores[1].logprobs[2] += self.shift;
        (scores, pass)
    }
    fn has_reference(&self) -> bool {
        self.inner.has_reference()
    }
    fn backward(&mut self, pass: Self::Pass, by_logprob: &[Vec<f32>]) {
        self.inner.backward(pass, by_logprob);
    }
    fn reference(&self, groups: &[Group<'_>], temperature: f32) -> Vec<grpo_qwen2::Scores> {
        self.inner.reference(groups, temperature)
    }
    fn update(&mut self, learning_rate: f64, max_grad_norm: f64) -> f64 {
        self.updates += 1;
        self.inner.update(learning_rate, max_grad_norm)
    }
    fn mix_reference(&mut self, alpha: f64) {
        self.inner.mix_reference(alpha);
    }
    fn discard(&mut self) {
        self.inner.discard();
    }
}

fn broken(shift: f32) -> Trainer<Broken, u32> {
    let rubric = Rubric::new().with("even", 1.0, even);
    Trainer::new(Broken { inner: policy(&config()), shift, updates: 0 }, rubric, config()).unwrap()
}

#[test]
fn a_sampler_that_disagrees_with_the_trainer_stops_the_first_step() {
    for shift in [2e-3, f32::NAN] {
        let mut trainer = broken(shift);
        let error = trainer.step(&problems()).unwrap_err();
        let TrainerError::Mismatch { problem: 0, sample: 1, token: 2, .. } = error else { panic!("{error}") };
        assert_eq!(trainer.policy().updates, 0);
    }
    assert!(broken(1e-4).step(&problems()).is_ok());
}

#[test]
fn a_loss_that_is_not_finite_is_skipped_and_ten_in_a_row_stop_the_run() {
    let objective = Objective { beta: 0.0, ..Objective::grpo() };
    let mut trainer = trainer_of(TrainerConfig { objective, ..config() }, even).unwrap();
    trainer.step(&problems()).unwrap();
    let before = fingerprint(&trainer);
    let mut experiences = trainer.roll_out(&problems()).unwrap();
    experiences.groups[1].experiences[2].advantage = f32::NAN;
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
