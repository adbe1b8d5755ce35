//! Frozen references.

use std::path::Path;

use burn::module::Module;
use burn::tensor::DType;
use grpo_qwen2::{Dtype, LoraConfig, Qwen2, Weight};
use grpo_test_device::{device, half};
use tempfile::TempDir;

use crate::common::{
    CHECKPOINTS, TIED, assert_unchanged, change_tensors, files, fixture, load, random_tokens, token_logprobs,
    values,
};
use crate::lora::adapted;

/// Every weight: its name, its dtype, whether it is trained, and its values.
fn weights(model: &Qwen2) -> Vec<(String, DType, bool, Vec<f32>)> {
    let described = |(name, weight): (String, Weight<'_>)| {
        let (dtype, trained) = match &weight {
            Weight::Matrix(w) => (w.val().dtype(), w.val().is_require_grad()),
            Weight::Table(table) => {
                let w = table.parts()[0].val();
                (w.dtype(), w.is_require_grad())
            }
            Weight::Vector(w) => (w.val().dtype(), w.val().is_require_grad()),
        };
        (name, dtype, trained, values(&weight))
    };
    model.clone().train().weights().into_iter().map(described).collect()
}

/// A copy of a fixture in another dtype.
fn saved(name: &str, dtype: Dtype) -> TempDir {
    let folder = TempDir::new().unwrap();
    load(name).save(&files(&fixture(name)), folder.path(), dtype).unwrap();
    folder
}

/// Checks that freezing a loaded model is loading a frozen one; returns the dtype of every weight.
fn check(folder: &Path) -> Vec<DType> {
    let trained = Qwen2::load(folder, &device()).unwrap();
    let before = weights(&trained);
    let frozen = weights(&trained.clone().freeze());
    assert_eq!(frozen, weights(&Qwen2::load_frozen(folder, &device()).unwrap()));
    assert_eq!(weights(&trained), before, "the source has changed");
    assert!(before.iter().all(|(_, dtype, trained, _)| *dtype == DType::F32 && *trained));
    frozen.into_iter().map(|(_, dtype, ..)| dtype).collect()
}

#[test]
fn a_frozen_model_is_what_is_loaded_as_one() {
    for name in CHECKPOINTS {
        let in_half = |folder: &Path| check(folder).into_iter().find(|dtype| *dtype != DType::F32);
        assert_eq!(in_half(saved(name, Dtype::Bf16).path()), half());
        assert_eq!(in_half(&fixture(name)), None);
    }
}

#[test]
fn each_matrix_is_held_in_its_own_dtype() {
    let folder = saved(TIED, Dtype::Bf16);
    let f32 = Qwen2::load(folder.path(), &device()).unwrap();
    f32.save(&files(&fixture(TIED)), folder.path(), Dtype::F32).unwrap();
    let in_half = || check(folder.path()).into_iter().filter(|dtype| *dtype != DType::F32).count();
    let all = in_half();
    assert_eq!(all > 0, half().is_some());
    let change = |part: &str, value: f32| {
        change_tensors(folder.path(), |tensors| {
            tensors.get_mut(&format!("model.layers.0.{part}.weight")).unwrap().set_f32(5, value);
        });
    };
    change("self_attn.q_proj", 1.0 + f32::EPSILON);
    assert_eq!(in_half(), all.saturating_sub(1));
    // A number of BF16 that is out of F16's range.
    change("mlp.up_proj", 65536.0);
    let lost = if half() == Some(DType::F16) { 2 } else { 1 };
    assert_eq!(in_half(), all.saturating_sub(lost));
}

#[test]
fn new_adapters_are_left_out_of_a_frozen_model_and_others_stay() {
    let folder = saved(TIED, Dtype::Bf16);
    for load in [Qwen2::load, Qwen2::load_frozen] {
        let base = load(folder.path(), &device()).unwrap();
        let model = base.clone().with_lora(&LoraConfig { seed: 7, ..LoraConfig::default() });
        let frozen = model.clone().freeze();
        assert!(model.has_lora() && !frozen.has_lora());
        assert_eq!(weights(&frozen), weights(&base.clone().freeze()));
        let tokens = random_tokens(4, 30);
        assert_unchanged("", &token_logprobs(&frozen, &tokens), &token_logprobs(&base, &tokens));
    }
    let model = adapted(TIED);
    let frozen = model.clone().freeze();
    assert!(frozen.has_lora());
    let tokens = random_tokens(4, 30);
    assert_unchanged("", &token_logprobs(&frozen, &tokens), &token_logprobs(&model, &tokens));
}
