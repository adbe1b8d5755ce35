//! Writes a checkpoint of random weights in BF16, for shapes of which no weights are at hand.
//!
//! `random_model SHAPE OUT FOLDER`: the shape of a published model (`3b`), and a folder whose tokenizer it gets.

use std::path::Path;

use burn::tensor::Device;
use grpo_qwen2::{Config, Dtype, ModelFiles, Qwen2};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [shape, out, folder] = args.as_slice() else {
        return Err("usage: random_model SHAPE OUT FOLDER".into());
    };
    let numbers = match shape.as_str() {
        // Qwen2.5-3B-Instruct's config.json
        "3b" => serde_json::json!({
            "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
            "num_key_value_heads": 2, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        }),
        _ => return Err(format!("the shape of `{shape}` is not known: 3b is").into()),
    };
    let (out, folder) = (Path::new(out), Path::new(folder));
    std::fs::create_dir_all(out)?;
    let mut config: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    // The number of layers is in this list, too.
    config.remove("layer_types");
    config.extend(numbers.as_object().expect("it is one").clone());
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json" || extension == "jinja" || extension == "txt")
        {
            std::fs::copy(&path, out.join(path.file_name().expect("a file has a name")))?;
        }
    }
    std::fs::write(out.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    let model = Qwen2::init(Config::read(&out.join("config.json"))?, 0, &Device::flex());
    Ok(model.save(&ModelFiles::read(out)?, out, Dtype::Bf16)?)
}
