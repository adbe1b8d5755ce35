//! What the tests share: a tiny policy, problems for it, and a reward.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::optim::GradientsParams;
use burn::tensor::DType;
use grpo_core::{Completion, Objective, Recipe, Reward, SamplerCorrection};
use grpo_reward::Rubric;
use grpo_rollout::PromptCompletions;
use grpo_test_device::device;
use grpo_trainer::{
    AdamW, Optimizer, Problem, Qwen2Policy, Qwen2PolicyConfig, RolloutDtype, TrainedQwen2, Trainer,
    TrainerConfig, TrainerError,
};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grpo-qwen2/tests/fixtures").join(name)
}

/// Rollouts in the half precision of the device; none if it has none.
pub(crate) fn half(correction: SamplerCorrection) -> Option<RolloutDtype> {
    grpo_test_device::half().map(|dtype| match dtype {
        DType::BF16 => RolloutDtype::Bf16(correction),
        _ => RolloutDtype::F16(correction),
    })
}

/// A tiny checkpoint whose tokenizer has 512 one-character words, so that a completion's text shows its tokens.
pub(crate) fn checkpoint() -> tempfile::TempDir {
    checkpoint_of("tiny-qwen2-tied")
}

fn checkpoint_of(model: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture(model).join(name), folder.path().join(name)).unwrap();
    }
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..512u32).map(|id| (char::from_u32(0x4E00 + id).unwrap().to_string(), id.into())).collect();
    let tokenizer = serde_json::json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "truncation": null, "padding": null, "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "\u{4E00}" },
    });
    let config = serde_json::json!({ "chat_template": "{{ messages[0].content }}" });
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    folder
}

pub(crate) type Run = Trainer<Qwen2Policy, u32>;

pub(crate) fn policy(config: &Qwen2PolicyConfig) -> Qwen2Policy {
    Qwen2Policy::load(checkpoint().path(), &device(), config).unwrap()
}

pub(crate) fn qwen3(config: &Qwen2PolicyConfig) -> Qwen2Policy {
    Qwen2Policy::load(checkpoint_of("tiny-qwen3-tied").path(), &device(), config).unwrap()
}

/// Pays for tokens with an even id: half of what an untrained model says.
pub(crate) fn even(_: &u32, completion: &Completion) -> f32 {
    let even = completion.text.chars().filter(|c| u32::from(*c) % 2 == 0).count();
    even as f32 / completion.n_tokens as f32
}

pub(crate) fn config() -> TrainerConfig {
    TrainerConfig {
        group_size: 6,
        max_completion_length: 12,
        learning_rate: 3e-3,
        seed: 5,
        ..TrainerConfig::default()
    }
}

/// The same with another objective.
pub(crate) fn of(objective: Objective) -> TrainerConfig {
    TrainerConfig { recipe: Recipe { objective, ..Recipe::grpo() }, ..config() }
}

/// The same without a KL term.
pub(crate) fn without_kl() -> TrainerConfig {
    of(Objective { beta: 0.0, ..Objective::default() })
}

pub(crate) fn trainer_of(
    config: TrainerConfig,
    reward: impl Reward<u32> + 'static,
) -> Result<Run, TrainerError> {
    Trainer::new(policy(&Qwen2PolicyConfig::default()), Rubric::new().with("even", 1.0, reward), config)
}

pub(crate) fn trainer(config: TrainerConfig) -> Run {
    trainer_of(config, even).unwrap()
}

/// A trainer of a policy with numbers of its own.
pub(crate) fn trainer_with(config: TrainerConfig, of_policy: &Qwen2PolicyConfig) -> Run {
    Trainer::new(policy(of_policy), Rubric::new().with("even", 1.0, even), config).unwrap()
}

pub(crate) fn problems() -> Vec<Problem<u32>> {
    [&[5, 9, 200][..], &[17; 7], &[300, 2]]
        .iter()
        .enumerate()
        .map(|(id, prompt)| Problem { id: id as u64, prompt: prompt.to_vec(), messages: vec![], truth: 0 })
        .collect()
}

/// Log-probabilities of fixed tokens: a fingerprint of the weights.
pub(crate) fn fingerprint(trainer: &Run) -> Vec<f32> {
    let tokens = PromptCompletions { prompt: &[3, 4], completions: vec![&[10, 20, 30, 40, 50, 60, 70, 80]] };
    trainer.policy().model().logprobs(&[tokens], 1.0).remove(0).logprobs
}

pub(crate) fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "they differ by {worst}: {a:?} {b:?}");
}

/// An optimizer that counts its updates.
pub(crate) struct Counted(pub(crate) Arc<AtomicUsize>, pub(crate) AdamW);

impl Optimizer<TrainedQwen2> for Counted {
    fn update(
        &mut self,
        model: &mut TrainedQwen2,
        gradients: GradientsParams,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> f64 {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.update(model, gradients, learning_rate, max_grad_norm)
    }
}
