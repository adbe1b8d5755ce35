//! The answer is JSON, or JSON of a certain shape.

use grpo_core::{Completion, Reward};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::extract_answer;
use crate::version::verifier_version;

/// Pays if [`extract_answer`] is a JSON object or array and nothing else.
///
/// A number, a string, `true` or `null` is JSON too, but so is nearly every short answer, which would be paid
/// for nothing. Words around it, a Markdown fence (```` ``` ````), a second value and nesting deeper than 127
/// are wrong. `{}` is right: `JsonSchema` (cargo feature `json-schema`) says what it must contain.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::Json;
///
/// let score = |text: &str| {
///     let completion = Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop };
///     Json::default().score("", &completion)
/// };
/// assert_eq!(score(r#"<answer>{"apples": 18}</answer>"#), 0.5);
/// assert_eq!(score("<answer>{apples: 18}</answer>"), 0.0);
/// assert_eq!(score("<answer>18</answer>"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Json {
    /// What JSON earns.
    pub reward: f32,
}

impl Default for Json {
    fn default() -> Self {
        Self { reward: 0.5 }
    }
}

impl<T: ?Sized> Reward<T> for Json {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        match serde_json::from_str(extract_answer(&completion.text)) {
            Ok(Value::Object(_) | Value::Array(_)) => self.reward,
            _ => 0.0,
        }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}

/// Pays if [`extract_answer`] is JSON that a JSON schema accepts, and nothing else.
///
/// The newest draft applies unless the schema names another one with `$schema`. The schema must be
/// self-contained: a reference to another document is an error, never a download. Its patterns use the syntax of
/// the crate `regex`.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::JsonSchema;
///
/// let schema = r#"{
///     "type": "object",
///     "properties": { "apples": { "type": "integer" } },
///     "required": ["apples"],
///     "additionalProperties": false
/// }"#;
/// let fruit = JsonSchema::new(schema)?;
/// let score = |text: &str| {
///     fruit.score("", &Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop })
/// };
/// assert_eq!(score(r#"<answer>{"apples": 18}</answer>"#), 1.0);
/// assert_eq!(score(r#"<answer>{"apples": "18"}</answer>"#), 0.0);
/// assert_eq!(score("<answer>{}</answer>"), 0.0);
/// # Ok::<(), grpo_reward::SettingError>(())
/// ```
#[cfg(feature = "json-schema")]
#[derive(Debug)]
pub struct JsonSchema {
    /// What accepted JSON earns: 1.0 unless it is changed.
    pub reward: f32,
    schema: Value,
    validator: jsonschema::Validator,
}

#[cfg(feature = "json-schema")]
impl JsonSchema {
    /// The reward for what `schema` accepts.
    ///
    /// # Errors
    ///
    /// If the schema is not JSON, is not a valid schema, or refers to another document.
    pub fn new(schema: &str) -> Result<Self, crate::SettingError> {
        let invalid = |reason: String| crate::SettingError::Schema { reason };
        let schema: Value = serde_json::from_str(schema).map_err(|error| invalid(error.to_string()))?;
        // The other engine backtracks: a completion could make it slow.
        let validator = jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&schema)
            .map_err(|error| invalid(error.to_string()))?;
        Ok(Self { reward: 1.0, schema, validator })
    }
}

#[cfg(feature = "json-schema")]
impl<T: ?Sized> Reward<T> for JsonSchema {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        match serde_json::from_str(extract_answer(&completion.text)) {
            Ok(value) if self.validator.is_valid(&value) => self.reward,
            _ => 0.0,
        }
    }

    fn version(&self) -> String {
        format!("{} {}", verifier_version(&self.reward), self.schema)
    }
}
