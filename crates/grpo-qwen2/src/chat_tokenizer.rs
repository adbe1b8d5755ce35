use std::path::Path;

use serde::Deserialize;

use crate::text_file::read_json;
use crate::tokenizer_config::TokenizerConfig;
use crate::{ChatTemplate, Config, Message, ModelError, Tokenizer};

/// Turns conversations into token ids and back: the tokenizer of a model folder, its chat template and its stop tokens.
pub struct ChatTokenizer {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template.
    pub template: ChatTemplate,
    /// Ids that end a completion.
    pub stop: Vec<u32>,
    /// What the template writes at the beginning of every completion ([`ChatTemplate::prefill`]).
    pub prefill: String,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`eos_token_id` must be the id of a token, or a list of ids")]
enum OneOrMany {
    One(u32),
    Many(Vec<u32>),
}

#[derive(Deserialize)]
struct Generation {
    eos_token_id: Option<OneOrMany>,
}

impl ChatTokenizer {
    /// Reads `tokenizer.json`, the chat template, and the stop tokens: those of `generation_config.json` (or of `config.json`
    /// if there is none), the `eos_token` of `tokenizer_config.json`, and `<|im_end|>`.
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
        let tokenizer_config = TokenizerConfig::read(folder)?;
        tokenizer_config.check(&tokenizer)?;
        let end = tokenizer_config.special_tokens.get("eos_token");
        stop.extend(end.and_then(|token| tokenizer.token_id(token)));
        stop.extend(tokenizer.token_id("<|im_end|>"));
        stop.sort_unstable();
        stop.dedup();
        if stop.is_empty() {
            let reason = "there is no `eos_token_id`, so no completion would ever end: add it".to_string();
            return Err(ModelError::Json { path: source, reason });
        }
        let template = ChatTemplate::new(folder, &tokenizer_config)?;
        if template.leaves_questions_out() {
            tracing::warn!("{}: the chat template leaves out what the user says", folder.display());
        }
        let prefill = prefill_of(&template);
        Ok(Self { tokenizer, template, stop, prefill })
    }

    /// The same with this value of the template's `enable_thinking` ([`ChatTemplate::with_thinking`]).
    pub fn with_thinking(mut self, thinking: Option<bool>) -> Result<Self, ModelError> {
        self.template = self.template.with_thinking(thinking)?;
        if thinking.is_some() {
            self.prefill = prefill_of(&self.template);
        }
        Ok(self)
    }

    /// The text of a sample as rewards see it: the prefill and all tokens except the stop tokens. Other special tokens are
    /// ordinary text, because a model may have learned its tags as special tokens. (TRL omits all of them:
    /// `skip_special_tokens=True`.)
    pub fn completion(&self, tokens: &[u32]) -> String {
        let said: Vec<u32> = tokens.iter().copied().filter(|token| !self.stop.contains(token)).collect();
        self.prefill.clone() + &self.tokenizer.decode(&said)
    }

    /// The bytes that each of a sample's tokens adds to [`completion`](Self::completion), whose prefill is of none of them.
    pub fn lengths(&self, tokens: &[u32]) -> Vec<usize> {
        let said: Vec<u32> = tokens.iter().copied().filter(|token| !self.stop.contains(token)).collect();
        let mut lengths = self.tokenizer.lengths(&said).into_iter();
        let length = |token| if self.stop.contains(token) { 0 } else { lengths.next().unwrap_or(0) };
        tokens.iter().map(length).collect()
    }

    /// The token ids of a completion's text as rewards see it, and the stop token that ends an assistant's turn: `<|im_end|>`, or
    /// without it the first stop token. The opposite of [`completion`](Self::completion), except that a sample may have split the
    /// same text into other tokens.
    pub fn completion_ids(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let mut ids = self.tokenizer.encode(text.strip_prefix(self.prefill.as_str()).unwrap_or(text))?;
        ids.push(self.tokenizer.token_id("<|im_end|>").unwrap_or(self.stop[0]));
        Ok(ids)
    }

    /// The token ids of a conversation up to where the assistant's turn begins.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        self.tokenizer.encode(&self.template.render(messages, true)?)
    }
}

/// What a template writes at the beginning of every completion; nothing, with a warning, if it is not known.
fn prefill_of(template: &ChatTemplate) -> String {
    template.prefill().unwrap_or_else(|| {
        let path = template.path().display();
        tracing::warn!(
            "{path}: what the chat template writes at the beginning of a completion is not known: rewards see none of it"
        );
        String::new()
    })
}
