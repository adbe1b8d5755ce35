//! What completions are paid for, as a configuration has it.

use std::fmt;

use grpo_reward::{Rubric, TagCount, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ConfigError, TaskConfig};

/// A part of the rewards: a verifier, its name in metrics, its weight, and its gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct RewardConfig {
    /// The name in metrics; the verifier's kind if it is left out.
    pub name: String,
    /// The factor of the reward in the total.
    pub weight: f32,
    /// The reward that must be above 0 for this one to be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// The verifier.
    #[serde(flatten)]
    pub verifier: Verifier,
}

/// A reward's part without the verifier.
#[derive(Deserialize)]
struct Part {
    name: Option<String>,
    #[serde(default = "one")]
    weight: f32,
    gate: Option<String>,
}

fn one() -> f32 {
    1.0
}

impl RewardConfig {
    /// The rewards for word problems: [`gsm8k::rubric`](crate::gsm8k::rubric).
    pub fn gsm8k() -> Vec<Self> {
        let part = |name: &str, verifier| Self { name: name.to_string(), weight: 1.0, gate: None, verifier };
        vec![
            part("correctness", Verifier::Correctness(Default::default())),
            part("format", Verifier::StrictFormat(Default::default())),
            part("tags", Verifier::TagCount(TagCount::default())),
        ]
    }
}

impl TryFrom<Map<String, Value>> for RewardConfig {
    type Error = String;

    fn try_from(mut entries: Map<String, Value>) -> Result<Self, String> {
        let kind = match entries.get("kind") {
            Some(Value::String(kind)) => kind.clone(),
            _ => return Err("a reward has a `kind`: see `grpo rewards`".to_string()),
        };
        if !Verifier::KINDS.contains(&kind.as_str()) {
            let advice = super::keys::most_similar(&kind, Verifier::KINDS.iter().copied())
                .map_or("see `grpo rewards`".to_string(), |kind| format!("did you mean `{kind}`?"));
            return Err(format!("there is no reward `{kind}`: {advice}"));
        }
        let own: Map<String, Value> =
            ["name", "weight", "gate"].iter().filter_map(|key| entries.remove_entry(*key)).collect();
        let of_kind = |error: serde_json::Error| format!("reward `{kind}`: {error}");
        let Part { name, weight, gate } = serde_json::from_value(json!(own)).map_err(of_kind)?;
        let verifier = serde_json::from_value(json!(entries)).map_err(of_kind)?;
        Ok(Self { name: name.unwrap_or_else(|| kind.clone()), weight, gate, verifier })
    }
}

impl TaskConfig {
    /// The rewards as a rubric.
    pub fn rubric<T: AsRef<str> + ?Sized>(&self) -> Result<Rubric<T>, ConfigError> {
        if self.rewards.is_empty() {
            return Err(ConfigError::Incomplete(
                "there is nothing in `rewards`: see `grpo rewards`".to_string(),
            ));
        }
        let mut rubric = Rubric::new();
        for RewardConfig { name, weight, verifier, .. } in &self.rewards {
            if rubric.names().any(|other| other == name) {
                return Err(wrong(name, "another reward has the same name: give one of them a `name`"));
            }
            if !weight.is_finite() {
                return Err(wrong(name, "its weight is not finite"));
            }
            rubric = verifier.add_to(rubric, name, *weight).map_err(|error| wrong(name, error))?;
        }
        for RewardConfig { name, gate, .. } in &self.rewards {
            if let Some(gate) = gate {
                rubric = rubric.gate(name, gate).map_err(|error| wrong(name, error))?;
            }
        }
        Ok(rubric)
    }
}

fn wrong(name: &str, reason: impl fmt::Display) -> ConfigError {
    ConfigError::Reward { name: name.to_string(), reason: reason.to_string() }
}
