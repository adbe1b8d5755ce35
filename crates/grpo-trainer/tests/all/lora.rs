//! Training of adapters.

use grpo_qwen2::LoraConfig;
use grpo_rollout::PromptCompletions;
use grpo_test_device::device;
use grpo_trainer::{EvaluationOptions, Qwen2PolicyConfig, TrainerConfig};

use crate::common::{assert_close, config, problems, trainer_with};

#[test]
fn adapters_learn_and_the_reference_is_the_model_without_them() {
    let adapters = LoraConfig { seed: 5, ..LoraConfig::default() };
    let lora = Qwen2PolicyConfig { lora: Some(adapters), ..Qwen2PolicyConfig::default() };
    let mut trainer = trainer_with(TrainerConfig { learning_rate: 1e-2, ..config() }, &lora);
    let options = EvaluationOptions::sampled(50);
    let base = trainer.policy().model().without_lora();
    let fixed = [3, 4, 10, 20, 30];
    let logprobs = |model: &grpo_qwen2::Qwen2| {
        model.logprobs(&[PromptCompletions { prompt: &fixed[..2], completions: vec![&fixed[2..]] }], 1.0)
    };
    let before = logprobs(&base);
    let first = trainer.step(&problems()).unwrap();
    assert!(first.kl.unwrap().abs() < 1e-6, "fresh adapters change nothing");
    let last = (0..14).map(|_| trainer.step(&problems()).unwrap()).last().unwrap();
    assert!(last.kl.unwrap() > 1e-3, "{last:?}");
    assert_eq!(
        logprobs(&trainer.policy().model().without_lora()),
        before,
        "frozen weights stay as they were"
    );
    let after = trainer.evaluate(&problems(), &options).unwrap().reward;
    assert!(after > 0.9, "the mean reward is {after}");
    let folder = tempfile::tempdir().unwrap();
    trainer.policy().save(&folder.path().join("adapter")).unwrap();
    trainer.policy().save_merged(&folder.path().join("merged")).unwrap();
    let merged = grpo_qwen2::Qwen2::load(&folder.path().join("merged"), &device()).unwrap();
    assert_close(&logprobs(&merged)[0].logprobs, &logprobs(trainer.policy().model())[0].logprobs, 1e-4);
    assert!(folder.path().join("adapter/adapter_config.json").exists());
}
