//! What the tests share: a tiny policy, problems for it, and a reward.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use grpo_core::{Completion, Reward};
use grpo_qwen2::Group;
use grpo_reward::Rubric;
use grpo_trainer::{Problem, Qwen2Policy, Trainer, TrainerConfig, TrainerError};

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../grpo-qwen2/tests/fixtures").join(name)
}

/// A tiny checkpoint whose tokenizer has 512 one-character words, so that a completion's text shows its tokens.
pub(crate) fn checkpoint() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("tiny-qwen2-tied").join(name), folder.path().join(name)).unwrap();
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

pub(crate) fn policy(config: &TrainerConfig) -> Qwen2Policy {
    Qwen2Policy::load(checkpoint().path(), &Device::flex(), config).unwrap()
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
        max_steps: 40,
        seed: 5,
        ..TrainerConfig::default()
    }
}

pub(crate) fn trainer_of(
    config: TrainerConfig,
    reward: impl Reward<u32> + 'static,
) -> Result<Trainer<Qwen2Policy, u32>, TrainerError> {
    Trainer::new(policy(&config), Rubric::new().with("even", 1.0, reward), config)
}

pub(crate) fn trainer(config: TrainerConfig) -> Trainer<Qwen2Policy, u32> {
    trainer_of(config, even).unwrap()
}

pub(crate) fn problems() -> Vec<Problem<u32>> {
    [&[5, 9, 200][..], &[17; 7], &[300, 2]]
        .iter()
        .enumerate()
        .map(|(id, prompt)| Problem { id: id as u64, prompt: prompt.to_vec(), truth: 0 })
        .collect()
}

/// Log-probabilities of fixed tokens: a fingerprint of the weights.
pub(crate) fn fingerprint(trainer: &Trainer<Qwen2Policy, u32>) -> Vec<f32> {
    let group = Group { prompt: &[3, 4], completions: &[&[10, 20, 30, 40, 50, 60, 70, 80]] };
    trainer.policy().model().score(&[group], 1.0).remove(0).logprobs
}

pub(crate) fn assert_close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= tolerance, "they differ by {worst}: {a:?} {b:?}");
}
