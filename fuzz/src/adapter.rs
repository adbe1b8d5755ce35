use std::path::Path;

use burn::tensor::Device;
use grpo_qwen2::{LoraConfig, Qwen2};

use crate::Target;
use crate::model::saved_model;

/// An adapter in PEFT's format.
pub fn adapter() -> Target {
    let model = saved_model();
    let file = |name: &str| std::fs::read(model.path().join(name)).expect("it has been saved");
    load(model.path())
        .with_lora(&LoraConfig { rank: 2, ..LoraConfig::default() })
        .save_adapter(model.path(), "model")
        .expect("there is room for files");
    Target {
        name: "adapter",
        files: vec![
            ("adapter_config.json".into(), file("adapter_config.json")),
            ("adapter_model.safetensors".into(), file("adapter_model.safetensors")),
            ("config.json".into(), file("config.json")),
            ("model.safetensors".into(), file("model.safetensors")),
        ],
        read,
    }
}

fn load(folder: &Path) -> Qwen2 {
    Qwen2::load_frozen(folder, &Device::flex()).expect("the model is right")
}

fn read(folder: &Path, _: &str) -> bool {
    Qwen2::load_frozen(folder, &Device::flex()).and_then(|model| model.load_adapter(folder)).is_ok()
}
