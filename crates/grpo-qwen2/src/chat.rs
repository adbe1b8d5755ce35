use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::json::read_json;

/// What rendering a template may take, in instructions and (64 bytes for one) in text that it makes on the way: far above any
/// real one, and soon reached by an endless loop.
const FUEL: u64 = 1_000_000;

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn of the given role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// The template that turns a conversation into the text a chat model was trained on.
///
/// It is a program from a downloaded file: the number of its instructions is bounded, and it has access to nothing but the messages.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: Value,
    path: PathBuf,
}

#[derive(Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    chat_template: Option<String>,
    #[serde(default)]
    bos_token: serde_json::Value,
    #[serde(default)]
    eos_token: serde_json::Value,
}

impl ChatTemplate {
    /// Reads the template of a model folder: `chat_template.jinja` as transformers 5 writes it, or the key
    /// `chat_template` of `tokenizer_config.json`.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let config_path = folder.join("tokenizer_config.json");
        let config: TokenizerConfig = read_json(&config_path)?;
        let file = folder.join("chat_template.jinja");
        let (path, source) = if file.exists() {
            let source = std::fs::read_to_string(&file).map_err(ModelError::io(&file))?;
            (file, source)
        } else {
            let reason = "is missing: use an instruction-tuned model, whose tokenizer_config.json has a `chat_template`";
            let none = || ModelError::Template { path: config_path.clone(), reason: reason.into() };
            (config_path.clone(), config.chat_template.clone().ok_or_else(none)?)
        };
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the standard delimiters are valid"));
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        let error =
            |e: Error| ModelError::Template { path: path.clone(), reason: format!("does not parse: {e:#}") };
        environment.add_template_owned("chat", source).map_err(error)?;
        let tokens = context! { bos_token => text(&config.bos_token), eos_token => text(&config.eos_token) };
        Ok(Self { environment, tokens, path })
    }

    /// The text of a conversation; with `generation_prompt` it ends where the assistant's turn begins.
    pub fn render(&self, messages: &[Message], generation_prompt: bool) -> Result<String, ModelError> {
        let template =
            self.environment.get_template("chat").expect("the template was added when it was read");
        template
            .render(context! { messages => Serde(messages), add_generation_prompt => generation_prompt, ..self.tokens.clone() })
            .map_err(|e| ModelError::Template { path: self.path.clone(), reason: format!("fails: {e:#}") })
    }
}

/// A special token of `tokenizer_config.json`: its text, or an object with it as `content`.
fn text(token: &serde_json::Value) -> Option<String> {
    token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_string)
}
