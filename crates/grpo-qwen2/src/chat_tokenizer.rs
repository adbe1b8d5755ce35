use std::path::Path;

use serde::Deserialize;

use crate::json::read_json;
use crate::{ChatTemplate, Config, Message, ModelError, Tokenizer};

/// From conversations to token ids and back: the tokenizer of a model folder, its chat template and its stop tokens.
pub struct ChatTokenizer {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template.
    pub template: ChatTemplate,
    /// Ids that end a completion.
    pub stop: Vec<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Deserialize)]
struct Generation {
    eos_token_id: Option<OneOrMany>,
}

impl ChatTokenizer {
    /// Reads `tokenizer.json`, the chat template, and the stop tokens: those of `generation_config.json` (or, where
    /// there is none, of `config.json`) and `<|im_end|>`.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let config_path = folder.join("config.json");
        let config = Config::read(&config_path)?;
        let tokenizer = Tokenizer::read(&folder.join("tokenizer.json"))?;
        tokenizer.check_fits(config.vocab_size)?;
        let generation = folder.join("generation_config.json");
        let source = if generation.exists() { generation } else { config_path };
        let mut stop = match read_json::<Generation>(&source)?.eos_token_id {
            Some(OneOrMany::One(id)) => vec![id],
            Some(OneOrMany::Many(ids)) => ids,
            None => Vec::new(),
        };
        stop.extend(tokenizer.token_id("<|im_end|>"));
        stop.sort_unstable();
        stop.dedup();
        if stop.is_empty() {
            let reason = "there is no `eos_token_id`, so no completion would ever end: add it".to_string();
            return Err(ModelError::Json { path: source, reason });
        }
        Ok(Self { tokenizer, template: ChatTemplate::read(folder)?, stop })
    }

    /// The ids of a conversation up to where the assistant's turn begins.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.encode(&self.template.render(messages, true)?)
    }
}
