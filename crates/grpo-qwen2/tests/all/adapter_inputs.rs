//! Adapter folders as other tools write them.

use std::path::Path;

use grpo_qwen2::{LoraConfig, ModelError, Qwen2};
use serde_json::{Value, json};

use crate::common::{LFS_POINTER, TIED, json, load, read_tensors, write_json, write_tensors};

/// An adapter of the tied model, changed.
fn adapter_after(change: impl FnOnce(&Path)) -> Result<Qwen2, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    let adapted = load(TIED).with_lora(&LoraConfig { rank: 4, seed: 1, ..LoraConfig::default() });
    adapted.save_adapter(folder.path(), "base").unwrap();
    change(folder.path());
    load(TIED).load_adapter(folder.path())
}

fn with_option(key: &str, value: &Value) -> Result<Qwen2, ModelError> {
    adapter_after(|folder| {
        let path = folder.join("adapter_config.json");
        let mut config = json(&path);
        config[key] = value.clone();
        write_json(&path, &config);
    })
}

#[test]
fn options_of_an_adapter_that_change_nothing_are_taken() {
    for (key, value) in [
        ("ensure_weight_tying", json!(true)),
        ("ensure_weight_tying", json!(false)),
        ("target_parameters", json!(null)),
        ("trainable_token_indices", json!(null)),
        ("alora_invocation_tokens", json!(null)),
        ("arrow_config", json!(null)),
        ("kasa_config", json!(null)),
        ("rank_pattern", json!({})),
        ("modules_to_save", json!([])),
        ("init_lora_weights", json!("orthogonal")),
        ("qalora_group_size", json!(16)),
    ] {
        assert!(with_option(key, &value).is_ok(), "{key}: {value}");
    }
    for (key, value) in [
        ("use_dora", json!(true)),
        ("alpha_pattern", json!({ "q_proj": 4 })),
        ("modules_to_save", json!(["lm_head"])),
        ("trainable_token_indices", json!([1, 2])),
        ("init_lora_weights", json!("pissa")),
        ("layer_replication", json!([[0, 1]])),
        ("a_new_option", json!(3)),
    ] {
        let error = with_option(key, &value).unwrap_err();
        assert!(matches!(&error, ModelError::Unsupported { key: named, .. } if named == key), "{error:?}");
    }
}

#[test]
fn adapters_in_other_forms_are_explained() {
    let weights = "adapter_model.safetensors";
    let rename = |folder: &Path, change: fn(&str) -> String| {
        let tensors = read_tensors(&folder.join(weights));
        let tensors = tensors.into_iter().map(|(name, tensor)| (change(&name), tensor)).collect();
        write_tensors(&folder.join(weights), &tensors);
    };
    let error = adapter_after(|folder| rename(folder, |name| name.replace(".weight", ".default.weight")));
    let error = error.unwrap_err();
    assert!(
        matches!(&error, ModelError::OtherNames { tensor, found, .. }
            if tensor.ends_with("lora_A.weight") && found.ends_with("lora_A.default.weight")),
        "{error:?}"
    );
    let error = adapter_after(|folder| {
        std::fs::rename(folder.join(weights), folder.join("adapter_model.bin")).unwrap();
    });
    assert!(
        matches!(error.unwrap_err(), ModelError::OtherWeights { found, .. } if found == "adapter_model.bin")
    );
    let error =
        adapter_after(|folder| std::fs::write(folder.join(weights), LFS_POINTER).unwrap()).unwrap_err();
    assert!(matches!(error, ModelError::LfsPointer { .. }), "{error:?}");
}
