use std::path::Path;

use burn::tensor::Device;
use grpo_qwen2::{Config, Dtype, ModelFiles, Qwen2};
use grpo_rollout::PromptCompletions;

use crate::Target;

/// The smallest model there is, as a file of its own configuration.
pub(crate) const CONFIG: &str = r#"{
  "model_type": "qwen2", "vocab_size": 12, "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
  "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 16, "rms_norm_eps": 1e-6,
  "rope_theta": 10000.0, "tie_word_embeddings": true, "eos_token_id": 1, "torch_dtype": "float32"
}"#;

/// A model in one file and, with other weights, in a shard: whichever the configuration and index lead to.
pub fn model() -> Target {
    let weights = weights();
    let header = u64::from_le_bytes(weights[..8].try_into().expect("eight bytes")) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&weights[8..8 + header]).expect("our own header can be read");
    let names = header.keys().filter(|name| *name != "__metadata__");
    let map: serde_json::Map<String, serde_json::Value> =
        names.map(|name| (name.clone(), "model-1.safetensors".into())).collect();
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    Target {
        name: "model",
        files: vec![
            ("config.json".into(), CONFIG.into()),
            ("whole.safetensors".into(), weights.clone()),
            ("model-1.safetensors".into(), weights),
            ("model.safetensors.index.json".into(), index.into()),
        ],
        read,
    }
}

/// The weights of a model of [`CONFIG`].
fn weights() -> Vec<u8> {
    let folder = saved_model();
    std::fs::read(folder.path().join("model.safetensors")).expect("it has been saved")
}

/// A folder with the model.
pub(crate) fn saved_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    std::fs::write(folder.path().join("config.json"), CONFIG).expect("there is room for a file");
    let config = Config::read(&folder.path().join("config.json")).expect("the configuration is right");
    let files = ModelFiles::read(folder.path()).expect("the configuration is right");
    let model = Qwen2::init(config, 0, &Device::flex());
    model.save(&files, folder.path(), Dtype::F32).expect("there is room for a file");
    folder
}

fn read(folder: &Path, _: &str) -> bool {
    // As a folder has either shards or one file, the latter stands in a folder of its own.
    let whole = folder.join("whole");
    std::fs::create_dir_all(&whole).expect("there is room for a folder");
    for (from, to) in [("config.json", "config.json"), ("whole.safetensors", "model.safetensors")] {
        std::fs::copy(folder.join(from), whole.join(to)).expect("there is room for a file");
    }
    let load = |folder: &Path| {
        let model = Qwen2::load(folder, &Device::flex());
        if let Ok(model) = &model {
            model.logprobs(&[PromptCompletions { prompt: &[0], completions: vec![&[0]] }], 1.0);
        }
        model.is_ok() & Qwen2::load_frozen(folder, &Device::flex()).is_ok()
    };
    load(folder) & load(&whole)
}
