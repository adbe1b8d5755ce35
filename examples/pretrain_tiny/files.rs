//! Everything in a model folder except the weights.

use std::path::Path;

use anyhow::Context;
use grpo_qwen2::ChatTemplate;
use serde_json::{Value, json};

use crate::demonstrations::Demonstration;
use crate::tokenizer;

/// The most tokens of the vocabulary; the demonstrations have fewer worth merging.
const VOCABULARY: usize = 768;
/// Demonstrations that the tokenizer is trained on.
const CORPUS: usize = 4000;

/// ChatML, as Qwen2 has it but for its default system turn.
const TEMPLATE: &str = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n\
                        {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Writes the tokenizer, trained on some of the demonstrations, and the configuration.
pub fn write(folder: &Path, demonstrations: impl Iterator<Item = Demonstration>) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).context(folder.display().to_string())?;
    let write_json = |name: &str, value: Value| {
        let path = folder.join(name);
        std::fs::write(&path, format!("{value:#}\n")).context(path.display().to_string())
    };
    write_json(
        "tokenizer_config.json",
        json!({
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": tokenizer::END,
            "pad_token": tokenizer::PAD,
            "model_max_length": 512,
            "chat_template": TEMPLATE,
        }),
    )?;
    let template = ChatTemplate::read(folder)?;
    let texts = demonstrations
        .take(CORPUS)
        .map(|d| Ok(template.render(&d.question, true)? + &d.answer))
        .collect::<anyhow::Result<Vec<String>>>()?;
    let tokenizer = tokenizer::train(&texts, VOCABULARY)?;
    let id = |token: &str| tokenizer.token_to_id(token).context(format!("the tokenizer has no {token}"));
    let (end, pad) = (id(tokenizer::END)?, id(tokenizer::PAD)?);
    let json = tokenizer.to_string(true).map_err(anyhow::Error::msg)?;
    std::fs::write(folder.join("tokenizer.json"), json)?;
    write_json("generation_config.json", json!({ "eos_token_id": [end, pad], "pad_token_id": pad }))?;
    write_json(
        "config.json",
        json!({
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "vocab_size": tokenizer.get_vocab_size(true),
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": true,
            "torch_dtype": "bfloat16",
            "bos_token_id": pad,
            "eos_token_id": end,
        }),
    )
}
