//! `tokenizer_config.json`: special tokens and chat template.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::text_file::read_json;
use crate::{ModelError, Tokenizer};

pub(crate) const FILE: &str = "tokenizer_config.json";
const LEGACY_SPECIAL: &str = "special_tokens_map.json";
const LEGACY_ADDED: &str = "added_tokens.json";

/// The names of the special tokens that any tokenizer may have.
const STANDARD: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The parts of a tokenizer's configuration that matter for conversations.
pub(crate) struct TokenizerConfig {
    path: PathBuf,
    /// The texts of special tokens by name: `eos_token`, and any others that are set.
    pub(crate) special_tokens: BTreeMap<String, String>,
    /// A template, or several by name; null if there is none.
    pub(crate) chat_template: Value,
    /// The texts of special tokens without a name.
    other_tokens: Vec<String>,
    /// Tokens, special or not, with the ids that the file gives them.
    added_tokens: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
struct AddedToken {
    content: String,
}

impl TokenizerConfig {
    /// Reads the file and, if its newer key is absent, the two older files, as transformers does.
    pub(crate) fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(FILE);
        let mut config: Map<String, Value> = read_json(&path)?;
        let mut added_tokens = BTreeMap::new();
        if let Some(tokens) = config.get("added_tokens_decoder") {
            let tokens: BTreeMap<u32, AddedToken> = serde_json::from_value(tokens.clone())
                .map_err(|e| error(&path, format!("`added_tokens_decoder`: {e}")))?;
            added_tokens.extend(tokens.into_iter().map(|(id, token)| (token.content, id)));
        } else {
            let [special, added] = [LEGACY_SPECIAL, LEGACY_ADDED].map(|name| folder.join(name));
            if special.exists() {
                config.extend(read_json::<Map<String, Value>>(&special)?);
            }
            if added.exists() {
                added_tokens = read_json(&added)?;
            }
        }
        if config.get("split_special_tokens") == Some(&Value::Bool(true)) {
            let reason = "`split_special_tokens` is true: the special tokens of prompts would be spelled out; set it to false";
            return Err(error(&path, reason.to_owned()));
        }
        if config.get("add_prefix_space") == Some(&Value::Bool(true)) {
            tracing::warn!("{}: `add_prefix_space` is not used: tokenizer.json decides", path.display());
        }
        let special_tokens = special_tokens(&config, &path)?;
        let lists = ["additional_special_tokens", "extra_special_tokens"].into_iter();
        let listed = lists.filter_map(|key| config.get(key)?.as_array()).flatten();
        let other_tokens = listed.filter_map(token_text).map(str::to_owned).collect();
        let chat_template = config.get("chat_template").cloned().unwrap_or_default();
        Ok(Self { path, special_tokens, chat_template, other_tokens, added_tokens })
    }

    /// Checks that the tokenizer has the tokens that the configuration names.
    pub(crate) fn check(&self, tokenizer: &Tokenizer) -> Result<(), ModelError> {
        let missing = |name: &str, token: &str| {
            let reason = format!(
                "{name} `{token}` is not in tokenizer.json: save the tokenizer again with save_pretrained of transformers"
            );
            Err(error(&self.path, reason))
        };
        for (token, id) in &self.added_tokens {
            match tokenizer.token_id(token) {
                None => return missing("the added token", token),
                Some(found) if found != *id => {
                    let path = self.path.display();
                    tracing::warn!(
                        "{path}: `{token}` has the id {id}, and {found} in tokenizer.json, which is taken"
                    );
                }
                Some(_) => {}
            }
        }
        let named = self.special_tokens.iter().map(|(name, token)| (format!("the `{name}`"), token));
        let unnamed = self.other_tokens.iter().map(|token| ("the special token".to_owned(), token));
        match named.chain(unnamed).find(|(_, token)| !token.is_empty() && tokenizer.token_id(token).is_none())
        {
            Some((name, token)) => missing(&name, token),
            None => Ok(()),
        }
    }
}

/// The text of a token, which may be given as an object.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

fn error(path: &Path, reason: String) -> ModelError {
    ModelError::Json { path: path.into(), reason }
}

/// The tokens with standard names, with other names that end in `_token`, and those named in two objects.
fn special_tokens(config: &Map<String, Value>, path: &Path) -> Result<BTreeMap<String, String>, ModelError> {
    let named = config.iter().filter(|(key, _)| key.ends_with("_token"));
    let extra = ["extra_special_tokens", "model_specific_special_tokens"].into_iter();
    let extra = extra.filter_map(|key| config.get(key)?.as_object()).flatten();
    let mut tokens = BTreeMap::new();
    for (key, value) in named.chain(extra) {
        match token_text(value) {
            Some(text) => drop(tokens.insert(key.clone(), text.to_owned())),
            None if STANDARD.contains(&key.as_str()) && !value.is_null() => {
                let expected = "a token is a string, or an object with its `content`";
                return Err(error(path, format!("`{key}` is {value}, but {expected}")));
            }
            None => {} // `add_bos_token` and other flags
        }
    }
    Ok(tokens)
}
