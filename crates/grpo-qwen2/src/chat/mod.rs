//! Chat templates: Jinja, configured as in transformers.

mod engine;
mod json_dumps;
mod python;
mod source;

use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use grpo_core::Message;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};

use crate::ModelError;
use crate::tokenizer_config::TokenizerConfig;

/// A text that nobody writes: it shows where a template puts the text of a message.
const QUESTION: &str = "\u{e000}";
const WORDS: &str = "\u{e001}";

/// The variable of templates that let the model reason or not.
const THINKING: &str = "enable_thinking";

/// The template that turns a conversation into text in the format that a chat model was trained on.
///
/// It sees what transformers' `apply_chat_template` provides: the messages, `add_generation_prompt`, the special tokens of
/// `tokenizer_config.json` (one that is not set is undefined), `tools` and `documents` as none, `enable_thinking` if it is set
/// ([`with_thinking`](Self::with_thinking)), `raise_exception`, `strftime_now`, and `tojson` as Python's `json.dumps`. Parts between
/// `{% generation %}` and `{% endgeneration %}` are rendered as if the tags were not there.
///
/// The engine is minijinja. Known differences from jinja2: an undefined argument of a macro takes the parameter's default;
/// variables set within `{% set x %}`, `{% filter %}` and the `else` of a loop are visible after it; `attr` finds keys; a list
/// prints undefined items as `undefined`.
///
/// A template is a program from a downloaded file: the number of its instructions is bounded, and it has access to nothing
/// else.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: Value,
    thinking: Option<bool>,
    path: PathBuf,
}

impl ChatTemplate {
    /// Reads the template of a model folder: `chat_template.jinja`, as transformers 5 writes it, or else the key
    /// `chat_template` of `tokenizer_config.json`. If there are several named templates, it reads the one named `default`.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        Self::new(folder, &TokenizerConfig::read(folder)?)
    }

    pub(crate) fn new(folder: &Path, config: &TokenizerConfig) -> Result<Self, ModelError> {
        let (path, source) = source::find(folder, config)?;
        let environment = engine::environment(source).map_err(|e| ModelError::Template {
            path: path.clone(),
            reason: format!("does not parse: {e:#}"),
        })?;
        let special_tokens = Value::from_pairs(config.special_tokens.clone());
        let template = Self { environment, special_tokens, thinking: None, path };
        Ok(template.with_clock(chrono::Local::now().naive_local()))
    }

    /// The same with this time for `strftime_now`, instead of the local time at which the template was read: the prompts of a
    /// run that is resumed or replayed are the same as when it began.
    #[must_use]
    pub fn with_clock(mut self, now: NaiveDateTime) -> Self {
        engine::set_clock(&mut self.environment, now);
        self
    }

    /// The same with this value of `enable_thinking`, by which templates such as Qwen3's let the model reason before it answers or
    /// not; if none, it is undefined, and the template decides. A template that does not use it is an error.
    pub fn with_thinking(mut self, thinking: Option<bool>) -> Result<Self, ModelError> {
        let is_used = self.template().source().contains(THINKING);
        if thinking.is_some() && !is_used {
            let reason = format!("does not use `{THINKING}`: leave it unset for this model");
            return Err(ModelError::Template { path: self.path, reason });
        }
        self.thinking = thinking;
        Ok(self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn template(&self) -> minijinja::Template<'_, '_> {
        self.environment.get_template(engine::NAME).expect("the template was added when it was read")
    }

    /// The text of a conversation. With `generation_prompt` it ends where the assistant's turn begins.
    pub fn render(&self, messages: &[Message], generation_prompt: bool) -> Result<String, ModelError> {
        let thinking = Value::from_pairs(self.thinking.map(|thinking| (THINKING, thinking)));
        let variables = context! {
            messages => Serde(messages),
            add_generation_prompt => generation_prompt,
            tools => (),
            documents => (),
            ..context! { ..thinking, ..self.special_tokens.clone() }
        };
        self.template()
            .render(variables)
            .map_err(|e| ModelError::Template { path: self.path.clone(), reason: format!("fails: {e:#}") })
    }

    /// Whether a prompt lacks what the user says.
    pub(crate) fn leaves_questions_out(&self) -> bool {
        let question = Message::new("user", QUESTION);
        self.render(&[question], true).is_ok_and(|prompt| !prompt.contains(QUESTION))
    }

    /// What the template writes at the beginning of a completion on the assistant's behalf, such as `<think>\n`: the generation
    /// prompt without what precedes the assistant's words in a conversation. Empty for most models, and for an element without
    /// content, such as `<think>\n\n</think>\n\n` where thinking is off: it is no part of what the model says. None if it cannot
    /// be determined, because the template refuses such conversations or omits the assistant's words.
    pub fn prefill(&self) -> Option<String> {
        let [user, assistant] = [Message::new("user", QUESTION), Message::new("assistant", WORDS)];
        let render = |messages: &[Message], generation_prompt| self.render(messages, generation_prompt).ok();
        let prompt = render(std::slice::from_ref(&user), true)?;
        if render(std::slice::from_ref(&user), false).as_ref() == Some(&prompt) {
            return Some(String::new());
        }
        // Not as the last turn at first: templates of reasoning models add some reasoning to that one.
        let conversations = [vec![user.clone(), assistant.clone(), user.clone()], vec![user, assistant]];
        conversations.iter().find_map(|messages| {
            let conversation = render(messages, false)?;
            let (before_words, _) = conversation.split_once(WORDS)?;
            let prefill = prompt.strip_prefix(before_words)?;
            let said = if is_empty_element(prefill) { "" } else { prefill };
            (!prefill.contains(QUESTION)).then(|| said.to_owned())
        })
    }
}

/// Whether a text is a start tag and its end tag with nothing but white space within and around them.
fn is_empty_element(text: &str) -> bool {
    let start = text.trim().strip_prefix('<').and_then(|text| text.split_once('>'));
    start.is_some_and(|(name, rest)| rest.trim_start() == format!("</{name}>"))
}
