//! What completions are paid for, as a configuration has it.

use std::fmt;

use grpo_reward::{Command, Row, Rubric, SettingError, Verifier, VerifierExample};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::gsm8k;

use super::keys::most_similar;
use super::settings::{NONE, plain};
use super::{ConfigError, TaskConfig};

/// A part of the rewards: a verifier or a program, its name in metrics, its weight, and its gate.
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
    /// What scores.
    #[serde(flatten)]
    pub scorer: Scorer,
}

/// What scores completions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scorer {
    /// A verifier by its `kind`.
    Verifier(Verifier),
    /// A program, by its `command`.
    Command(Command),
}

impl Scorer {
    /// The names of its rewards, one of which may be that of the whole.
    fn names<'a>(&'a self, name: &'a String) -> Vec<&'a String> {
        match self {
            Self::Command(command) if !command.rewards.is_empty() => command.rewards.keys().collect(),
            _ => vec![name],
        }
    }

    fn add_to(&self, rubric: Rubric<Row>, name: &str, weight: f32) -> Result<Rubric<Row>, SettingError> {
        match self {
            Self::Verifier(verifier) => verifier.add_to(rubric, name, weight),
            Self::Command(command) => command.add_to(rubric, name, weight),
        }
    }
}

/// What a reward has besides its verifier.
#[derive(Deserialize)]
struct Part {
    name: Option<String>,
    #[serde(default = "one")]
    weight: f32,
    gate: Option<String>,
}

const OF_PART: [&str; 3] = ["name", "weight", "gate"];
/// The key of programs.
const COMMAND: &str = "command";

fn one() -> f32 {
    1.0
}

impl RewardConfig {
    /// The rewards for word problems: [`gsm8k::rubric`](crate::gsm8k::rubric).
    pub fn gsm8k() -> Vec<Self> {
        let part = |name: &str, verifier| {
            let scorer = Scorer::Verifier(verifier);
            Self { name: name.to_string(), weight: 1.0, gate: None, scorer }
        };
        vec![
            part("correctness", Verifier::Correctness(Default::default())),
            part("format", Verifier::StrictFormat(Default::default())),
            part("tags", Verifier::TagCount(Default::default())),
        ]
    }

    /// Whether the truth of a row is known to be a right answer: not for programs, and where the truth is what an answer leads to.
    pub fn answer_is_truth(&self) -> bool {
        matches!(&self.scorer, Scorer::Verifier(verifier) if verifier.answer_is_truth())
    }

    fn parse(kind: &str, entries: &Map<String, Value>) -> Result<Self, serde_json::Error> {
        let (of_part, of_scorer): (Map<_, _>, Map<_, _>) =
            entries.clone().into_iter().partition(|(key, _)| OF_PART.contains(&key.as_str()));
        let Part { name, weight, gate } = serde_json::from_value(of_part.into())?;
        Ok(Self {
            name: name.unwrap_or_else(|| kind.to_string()),
            weight,
            gate: gate.filter(|gate| gate != NONE),
            scorer: match kind {
                COMMAND => Scorer::Command(serde_json::from_value(of_scorer.into())?),
                _ => Scorer::Verifier(serde_json::from_value(of_scorer.into())?),
            },
        })
    }
}

impl TryFrom<Map<String, Value>> for RewardConfig {
    type Error = String;

    fn try_from(entries: Map<String, Value>) -> Result<Self, String> {
        let kind = match (entries.get("kind"), entries.contains_key(COMMAND)) {
            (None, true) => COMMAND.to_string(),
            (Some(Value::String(kind)), false) => kind.clone(),
            (Some(_), true) => return Err("a reward has a `kind` or a `command`, not both".to_string()),
            _ => return Err("a reward has a `kind` or a `command`: see `grpo rewards`".to_string()),
        };
        let mut valid = if kind == COMMAND {
            json!({ COMMAND: ["program"], "timeout": 1, "processes": 1, "rewards": {} })
        } else {
            let Some(i) = Verifier::KINDS.iter().position(|known| *known == kind) else {
                return Err(unknown_kind(&kind));
            };
            json!(VerifierExample::all()[i].verifier)
        };
        OF_PART.iter().zip([json!(""), json!(1.0), json!("")]).for_each(|(key, value)| valid[*key] = value);
        if let Some(key) = entries.keys().find(|key| valid.get(key).is_none()) {
            let keys = || valid.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            let advice = most_similar(key, keys())
                .map_or(format!("it can have {}", keys().collect::<Vec<_>>().join(", ")), |key| {
                    format!("did you mean `{key}`?")
                });
            return Err(format!("reward `{kind}` has no key `{key}`: {advice}"));
        }
        // JSON has no other numbers.
        if let Some((key, _)) = entries.iter().find(|(_, value)| value.is_null()) {
            return Err(format!("reward `{kind}`: `{key}` is not a finite number"));
        }
        Self::parse(&kind, &entries).map_err(|error| {
            let reason = plain(&error.to_string());
            // The value that, replaced by a valid one, makes it a reward is the one to blame.
            let is_wrong = |key: &&String| {
                let mut others = entries.clone();
                others.insert((*key).clone(), valid[key.as_str()].clone());
                Self::parse(&kind, &others).is_ok()
            };
            match entries.keys().find(is_wrong) {
                Some(key) => format!("reward `{kind}`: `{key}` is {}: {reason}", entries[key]),
                None => format!("reward `{kind}`: {reason}"),
            }
        })
    }
}

fn unknown_kind(kind: &str) -> String {
    if kind == "json_schema" {
        return "this program was built without the feature `json-schema` of grpo-reward, which `json_schema` needs".to_string();
    }
    let advice = most_similar(kind, Verifier::KINDS.iter().copied())
        .map_or("see `grpo rewards`".to_string(), |kind| format!("did you mean `{kind}`?"));
    format!("there is no reward `{kind}`: {advice}")
}

impl TaskConfig {
    /// What a right completion in the right format earns in total; none for rewards other than the default.
    pub fn marks(&self) -> Option<f32> {
        (self.rewards == RewardConfig::gsm8k()).then_some(gsm8k::MARKS)
    }

    /// The rewards as a rubric.
    pub fn rubric(&self) -> Result<Rubric<Row>, ConfigError> {
        RewardConfig::rubric(&self.rewards)
    }
}

impl RewardConfig {
    /// Rewards as a rubric.
    pub fn rubric(rewards: &[Self]) -> Result<Rubric<Row>, ConfigError> {
        if rewards.is_empty() {
            return Err(ConfigError::Incomplete(
                "there is nothing in `rewards`: see `grpo rewards`".to_string(),
            ));
        }
        let mut rubric = Rubric::new();
        for Self { name, weight, gate, scorer } in rewards {
            let names = scorer.names(name);
            if names != [name] && (name != COMMAND || gate.is_some()) {
                return Err(wrong(
                    name,
                    "a program with several `rewards` has neither a `name` nor a `gate`",
                ));
            }
            for name in names {
                // Names are parts of metrics' names, `rewards/{name}/mean`.
                if name.is_empty() || name.contains(|c: char| c == '/' || c.is_control()) {
                    return Err(wrong(
                        name,
                        "a `name` is not empty and has no slashes and no control characters",
                    ));
                }
                if rubric.names().any(|other| other == name) {
                    return Err(wrong(name, "another reward has the same name: give one of them a `name`"));
                }
            }
            if !weight.is_finite() || !is_finite(&json!(scorer)) {
                return Err(wrong(name, "its numbers have to be finite, and below 3.4e38"));
            }
            rubric = scorer.add_to(rubric, name, *weight).map_err(|error| wrong(name, error))?;
        }
        for Self { name, gate, .. } in rewards {
            if let Some(gate) = gate {
                if gate == name {
                    return Err(wrong(name, "it is its own gate: name another reward, or remove the gate"));
                }
                rubric = rubric.gate(name, gate).map_err(|error| wrong(name, error))?;
            }
        }
        Ok(rubric)
    }
}

/// Whether all numbers are: JSON has no others, and null in their place.
fn is_finite(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_finite),
        value => !value.is_null(),
    }
}

fn wrong(name: &str, reason: impl fmt::Display) -> ConfigError {
    ConfigError::Reward { name: name.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_classic() {
        let (classic, task) = (gsm8k::rubric(), TaskConfig::default());
        let rubric = task.rubric().unwrap();
        let parts = |rubric: &Rubric<Row>| -> Vec<(String, f32, String)> {
            let named = rubric.names().map(str::to_string).zip(rubric.reward_weights());
            named
                .zip(rubric.versions())
                .map(|((name, weight), version)| (name, weight, version.into()))
                .collect()
        };
        assert_eq!(parts(&rubric), parts(&classic));
        assert_eq!((task.marks(), rubric.gates().flatten().count()), (Some(gsm8k::MARKS), 0));
    }

    #[test]
    fn wrong_parts_are_named() {
        let part = |settings: Value| RewardConfig::try_from(settings.as_object().unwrap().clone()).unwrap();
        let numeric = |name: &str| part(json!({ "kind": "numeric", "name": name }));
        let several = |mut more: Value, weight: f64| {
            more["command"] = json!(["true"]);
            more["rewards"] = json!({ "right": weight });
            part(more)
        };
        for (rewards, expected) in [
            (vec![numeric("")], "a `name` is not empty"),
            (vec![numeric("a\nb")], "no control characters"),
            (vec![numeric("a"), numeric("a")], "reward `a`: another reward has the same name"),
            (vec![part(json!({ "kind": "json", "gate": "json" }))], "reward `json`: it is its own gate"),
            (vec![part(json!({ "kind": "json", "weight": 1e39 }))], "have to be finite"),
            (vec![part(json!({ "kind": "json", "reward": 1e39 }))], "have to be finite"),
            (vec![part(json!({ "kind": "json", "gate": "right" }))], "no part `right`; it has `json`"),
            (vec![], "there is nothing in `rewards`"),
            (
                vec![numeric("right"), several(json!({}), 1.0)],
                "reward `right`: another reward has the same name",
            ),
            (vec![several(json!({ "name": "program" }), 1.0)], "has neither a `name` nor a `gate`"),
            (vec![numeric("a"), several(json!({ "gate": "a" }), 1.0)], "has neither a `name` nor a `gate`"),
            (vec![several(json!({}), 1e39)], "have to be finite"),
        ] {
            let error = TaskConfig { rewards, ..TaskConfig::default() }.rubric().unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert_eq!(part(json!({ "kind": "json", "gate": "none" })).gate, None);
    }
}
