//! Models with random weights.

use grpo_qwen2::{Config, Dtype, Qwen2};
use grpo_rollout::PromptCompletions;
use grpo_test_device::device;

use crate::common::{QWEN3, TIED, UNTIED, files, fixture, values};

fn init(name: &str, seed: u64) -> Qwen2 {
    let config = Config::read(&fixture(name).join("config.json")).unwrap();
    Qwen2::init(config, seed, &device())
}

fn weights(model: &Qwen2) -> Vec<(String, Vec<f32>)> {
    model.weights().into_iter().map(|(name, weight)| (name, values(&weight))).collect()
}

#[test]
fn matrices_are_normal_biases_zero_and_norms_one() {
    for (name, values) in weights(&init(UNTIED, 3)).into_iter().chain(weights(&init(QWEN3, 3))) {
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let deviation = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (expected_mean, expected) = match name.as_str() {
            _ if name.ends_with("bias") => (0.0, 0.0),
            _ if name.ends_with("norm.weight") => (1.0, 0.0),
            _ => (0.0, 0.02),
        };
        // Four standard errors, both of the mean and of the deviation.
        assert!((mean - expected_mean).abs() <= 4.0 * expected / n.sqrt(), "{name}: mean {mean}");
        assert!((deviation - expected).abs() <= 4.0 * expected / (2.0 * n).sqrt(), "{name}: {deviation}");
    }
}

#[test]
fn a_seed_is_a_model() {
    assert_eq!(weights(&init(TIED, 3)), weights(&init(TIED, 3)));
    assert_ne!(weights(&init(TIED, 3)), weights(&init(TIED, 4)));
}

#[test]
fn it_knows_nothing_and_is_saved_like_any_other() {
    let model = init(TIED, 5);
    let batch = [PromptCompletions { prompt: &[1, 2, 3], completions: vec![&[4, 5, 6]] }];
    let uniform = (model.config().vocab_size as f32).ln();
    for entropy in &model.logprobs(&batch, 1.0)[0].entropies {
        assert!((entropy - uniform).abs() < 0.05, "{entropy} of at most {uniform}");
    }
    let folder = tempfile::tempdir().unwrap();
    model.save(&files(&fixture(TIED)), folder.path(), Dtype::F32).unwrap();
    let loaded = Qwen2::load(folder.path(), &device()).unwrap();
    assert_eq!(weights(&loaded), weights(&model));
}
