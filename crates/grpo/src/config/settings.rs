//! Turns user settings into a configuration.

use std::path::Path;

use grpo_core::Paper;
use serde::Deserialize;
use serde_json::{Value, json};

use super::defaults::Choices;
use super::keys::{at_mut, get, is_key, open, resolve};
use super::{ConfigError, RunConfig};

pub(super) const RECIPE: &str = "algorithm.recipe";
const REWARDS: &str = "task.rewards";
const LENGTH: &str = "algorithm.max_completion_length";
/// The value that clears an optional number.
pub(super) const NONE: &str = "none";
/// The key that selects the variant of a choice whose variants have their own numbers.
const KIND: &str = "kind";
const KIND_ENDING: &str = ".kind";

/// Keys and values that override the defaults or another configuration. If a key is set twice, the later value wins.
///
/// A key may omit its sections: `beta` is `algorithm.recipe.objective.beta`. Of a paper's recipe (`recipe = "dapo"`), other
/// keys override parts, wherever they stand. `"none"` clears an optional number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    entries: Vec<(String, Value)>,
}

impl Settings {
    /// The settings of a TOML file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Io { path: path.to_owned(), cause })?;
        Self::from_toml(&text).map_err(|error| match error {
            ConfigError::Toml { reason, .. } => ConfigError::Toml { path: Some(path.to_owned()), reason },
            other => other,
        })
    }

    /// The settings of a TOML document.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table =
            toml::from_str(text).map_err(|e| ConfigError::Toml { path: None, reason: e.to_string() })?;
        let mut entries = Vec::new();
        collect_leaves("", &json!(table), &mut entries)?;
        check_once(&entries)?;
        let mut settings = Self::default();
        entries.into_iter().for_each(|(key, value)| settings.add(key, value));
        Ok(settings)
    }

    /// Adds `key=value`, where the value is TOML or an unquoted string.
    pub fn assign(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| ConfigError::NoValue(assignment.to_string()))?;
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok();
        let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
        let value = parsed.map_or(json!(value), |value| json!(value));
        self.insert(key.trim(), &value)
    }

    /// Adds a value.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> Result<(), ConfigError> {
        self.insert(key, &value.into())
    }

    /// These settings, overridden by `later` ones.
    #[must_use]
    pub fn then(mut self, later: Self) -> Self {
        let (recipe, rest): (Vec<_>, Vec<_>) = later.entries.into_iter().partition(|(key, _)| key == RECIPE);
        recipe.into_iter().for_each(|(key, value)| self.add(key, value));
        self.entries.extend(rest);
        self
    }

    /// Whether a key has a value.
    pub fn has(&self, key: &str) -> bool {
        resolve(key).is_ok_and(|key| self.last(&key).is_some_and(|value| !value.is_null()))
    }

    /// The defaults with these settings; not yet [validated](RunConfig::validate).
    pub fn config(&self) -> Result<RunConfig, ConfigError> {
        self.apply(json!(self.choices().defaults()))
    }

    /// A configuration, overridden by these settings.
    pub fn config_over(&self, base: &RunConfig) -> Result<RunConfig, ConfigError> {
        self.apply(json!(base))
    }

    /// Adds the leaves of a table, or one value.
    fn insert(&mut self, key: &str, value: &Value) -> Result<(), ConfigError> {
        let mut entries = Vec::new();
        collect_leaves(key, value, &mut entries)?;
        entries.into_iter().for_each(|(key, value)| self.add(key, value));
        Ok(())
    }

    /// Adds an entry: a recipe before all others, because they change it, and which variant of a choice it is before its numbers.
    fn add(&mut self, key: String, value: Value) {
        let place = if key == RECIPE {
            self.entries.retain(|(other, _)| *other != RECIPE);
            0
        } else if value.is_string() && is_key(&format!("{key}.{KIND}")) {
            return self.add(format!("{key}.{KIND}"), value);
        } else if key.ends_with(KIND_ENDING) {
            let is_first = |(other, _): &&(String, Value)| *other == RECIPE || other.ends_with(KIND_ENDING);
            self.entries.iter().take_while(is_first).count()
        } else {
            self.entries.len()
        };
        self.entries.insert(place, (key, value));
    }

    fn last(&self, key: &str) -> Option<&Value> {
        self.entries.iter().rev().find(|(of, _)| of == key).map(|(_, value)| value)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.last(key).and_then(Value::as_u64)
    }

    fn choices(&self) -> Choices {
        let base = Choices::default();
        let length = self.number(LENGTH);
        // A table set to none is absent, whatever it held before.
        let opened = |table: &str| {
            let inner = format!("{table}.");
            let last = self.entries.iter().rev().find(|(key, _)| key == table || key.starts_with(&inner));
            last.is_some_and(|(key, value)| key != table || !value.is_null())
        };
        let rank = self.number("policy.lora.rank").map_or(16, |rank| rank as usize);
        Choices {
            max_completion_length: length.map_or(base.max_completion_length, |n| n as usize),
            seed: self.number("algorithm.seed").unwrap_or(base.seed),
            lora: opened("policy.lora").then_some(rank),
            continues_adapter: self.last("task.adapter").is_some_and(|folder| !folder.is_null()),
            moves_reference: opened("algorithm.reference_sync"),
            has_curriculum: opened("task.curriculum"),
        }
    }

    fn apply(&self, base: Value) -> Result<RunConfig, ConfigError> {
        let length =
            self.number(LENGTH).or_else(|| get(&base, LENGTH)?.as_u64()).unwrap_or_default() as usize;
        let config = |without: Option<usize>| {
            let mut config = base.clone();
            let entries = self.entries.iter().enumerate().filter(|(i, _)| Some(*i) != without);
            entries.into_iter().try_for_each(|(_, entry)| apply_one(&mut config, entry, length))?;
            RunConfig::deserialize(config).map_err(|e| ConfigError::Incomplete(e.to_string()))
        };
        let applied = config(None).map_err(|error| {
            // The entry without which it would be a configuration is the one to blame.
            let is_wrong = |i: &usize| config(Some(*i)).is_ok();
            match (error, (0..self.entries.len()).find(is_wrong)) {
                (ConfigError::Incomplete(reason), Some(i)) => {
                    let (key, value) = &self.entries[i];
                    let value = if value.is_null() { NONE.to_string() } else { value.to_string() };
                    ConfigError::Value { key: key.clone(), value, reason: plain(&reason) }
                }
                (error, _) => error,
            }
        })?;
        self.check_used(&json!(applied))?;
        Ok(applied)
    }

    /// Refuses a number of a variant that is not chosen: it would be without effect.
    fn check_used(&self, applied: &Value) -> Result<(), ConfigError> {
        for (i, (key, value)) in self.entries.iter().enumerate() {
            let later = &self.entries[i + 1..];
            let (table, _) = key.rsplit_once('.').unwrap_or_default();
            let is_replaced =
                later.iter().any(|(other, _)| other == table || *other == format!("{table}.{KIND}"));
            // A table that has been closed since has no keys.
            let Some(open) = get(applied, table).filter(|table| !table.is_null()) else { continue };
            if !value.is_null() && !is_replaced && open.get(last_name(key)).is_none() {
                let kind = open[KIND].as_str().unwrap_or_default().to_string();
                return Err(ConfigError::NotUsed { key: key.clone(), table: table.to_string(), kind });
            }
        }
        Ok(())
    }
}

/// Collects the leaves of a table, or one value, with their full keys.
fn collect_leaves(key: &str, value: &Value, leaves: &mut Vec<(String, Value)>) -> Result<(), ConfigError> {
    match value {
        Value::Object(_) if resolve(key).is_ok_and(|key| key == REWARDS) => Err(ConfigError::Value {
            key: REWARDS.to_string(),
            value: value.to_string(),
            reason: "this is a list of tables: write `[[rewards]]`".to_string(),
        }),
        Value::Object(map) if !map.is_empty() => map.iter().try_for_each(|(name, inner)| {
            let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            collect_leaves(&key, inner, leaves)
        }),
        Value::Object(_) if key.is_empty() => Ok(()),
        value => {
            let value = if value == NONE { Value::Null } else { value.clone() };
            leaves.push((resolve(key)?, value));
            Ok(())
        }
    }
}

/// Refuses a document that gives a key two values: a key may be written with and without its sections.
fn check_once(leaves: &[(String, Value)]) -> Result<(), ConfigError> {
    let values = leaves.iter().filter(|(_, value)| !value.is_object());
    let mut keys: Vec<&String> = values.map(|(key, _)| key).collect();
    keys.sort_unstable();
    for (key, next) in keys.iter().zip(keys.iter().skip(1)) {
        // A recipe, and the name of a variant, have numbers besides them.
        let goes_with_others = *key == RECIPE || is_key(&format!("{key}{KIND_ENDING}"));
        let is_part = next.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if key == next || (is_part && !goes_with_others) {
            return Err(ConfigError::Twice { key: key.to_string() });
        }
    }
    Ok(())
}

/// A reason of serde's without the names of types.
pub(super) fn plain(reason: &str) -> String {
    let is_of_serde = reason.starts_with("invalid type: ") || reason.starts_with("invalid value: ");
    let expected = reason.split_once("expected ").filter(|_| is_of_serde);
    match expected.map(|(_, expected)| expected) {
        Some("usize" | "u64" | "u32") => "it must be a whole number of at least 0".to_string(),
        Some("f32" | "f64") => "it must be a number".to_string(),
        Some("a string") => "it must be a string".to_string(),
        Some("a sequence") => "it must be a list".to_string(),
        Some("a map") => "it must be a table".to_string(),
        Some(expected) if expected.starts_with("struct") => {
            "this is a table: set one of its keys instead".to_string()
        }
        _ => reason.to_string(),
    }
}

/// The name at the end of a key.
pub(super) fn last_name(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn paper(name: &str) -> Result<Paper, ConfigError> {
    let known = || Paper::ALL.map(Paper::name).to_vec();
    Paper::named(name).ok_or_else(|| ConfigError::UnknownRecipe { name: name.to_string(), known: known() })
}

/// Sets a value in a configuration; recipes are for completions of at most `length` tokens.
fn apply_one(config: &mut Value, (key, value): &(String, Value), length: usize) -> Result<(), ConfigError> {
    if let (RECIPE, Value::String(name)) = (key.as_str(), value) {
        *at_mut(config, RECIPE) = json!(paper(name)?.recipe(length));
        return Ok(());
    }
    open(config, key, value);
    match key.strip_suffix(KIND_ENDING) {
        // Another variant of a choice has numbers of its own.
        Some(choice) => {
            let place = at_mut(config, choice);
            if place[KIND] != *value {
                *place = json!({ KIND: value });
            }
        }
        None if value.is_object() => {}
        None => *at_mut(config, key) = value.clone(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(layers: &[&str]) -> Result<RunConfig, ConfigError> {
        let layer =
            |settings: Settings, text: &&str| Settings::from_toml(text).map(|later| settings.then(later));
        layers.iter().try_fold(Settings::default(), layer)?.config()
    }

    #[test]
    fn other_keys_override_parts_of_a_recipe_wherever_they_stand() {
        let dapo = config(&["recipe = 'dapo'"]).unwrap();
        assert_eq!(dapo.algorithm.recipe, Paper::Dapo.recipe(256));
        let complete = RunConfig::default().to_toml();
        assert_eq!(config(&[&complete, "recipe = 'dapo'"]).unwrap(), dapo);
        for layers in [
            &["beta = 0.5\nrecipe = 'dapo'"][..],
            &["beta = 0.5", "recipe = 'dapo'"],
            &["recipe = 'dapo'", "beta = 0.5"],
        ] {
            let changed = config(layers).unwrap();
            assert_eq!(changed.algorithm.recipe.objective.beta, 0.5);
            assert_eq!(changed.algorithm.recipe.max_redraws, 3);
            assert_eq!(config(&[&changed.to_toml()]).unwrap(), changed);
            assert!(
                changed.to_toml().starts_with("# What the paper")
                    && changed.to_toml().contains("\nbeta = 0.5 #")
            );
            let uncommented = changed.to_toml().replace("\n# max_redraws = 3", "\nmax_redraws = 4");
            assert_eq!(config(&[&uncommented]).unwrap().algorithm.recipe.max_redraws, 4);
        }
        let mut twice = Settings::default();
        ["recipe=dapo", "recipe=cispo"].iter().try_for_each(|recipe| twice.assign(recipe)).unwrap();
        assert_eq!(twice.config().unwrap().algorithm.recipe, Paper::Cispo.recipe(256));
        let short = config(&["recipe = 'dr-grpo'", "max_completion_length = 9"]).unwrap();
        assert_eq!(short.algorithm.recipe, Paper::DrGrpo.recipe(9));
    }

    #[test]
    fn a_choice_has_numbers_of_its_own() {
        let cispo = config(&["surrogate = { kind = 'cispo', epsilon_high = 3.0 }"]).unwrap();
        assert_eq!(cispo.algorithm.recipe.objective.surrogate, grpo_core::Surrogate::Cispo { max: 3.0 });
        let bf16 = config(&["rollout_dtype = 'bf16'"]).unwrap();
        assert_ne!(bf16.policy.rollout_dtype, RunConfig::default().policy.rollout_dtype);
        let whole = config(&["columns.truth = { pattern = 'x' }", "columns.truth = 'whole'"]).unwrap();
        assert_eq!(whole.task.columns.truth, grpo_data::Truth::Whole);
        let lora = config(&["lora.rank = 8", "lora = 'none'"]).unwrap();
        assert_eq!(lora, RunConfig::default());
        let opened = config(&["[policy.lora]"]).unwrap();
        assert_eq!(opened, config(&["lora.rank = 16"]).unwrap());
        let mut backwards = Settings::default();
        backwards.assign("num_training_steps=9").unwrap();
        backwards.assign("schedule.kind=linear").unwrap();
        assert_eq!(
            backwards.config().unwrap().algorithm.schedule,
            grpo_trainer::Schedule::Linear { steps: 9 }
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("learning_rat = 1", "no key `learning_rat`: did you mean `learning_rate`?"),
            ("algorithm.group_sise = 1", "did you mean `algorithm.group_size`?"),
            ("zebra = 1", "no key `zebra`: see `grpo config`"),
            ("kind = 'linear'", "`kind` could be any of algorithm."),
            ("recipe = 'ppo'", "no recipe `ppo`: choose one of grpo, bnpo, dapo"),
            ("group_size = 'many'", r#"`algorithm.group_size` is "many": it must be a whole number"#),
            ("surrogate = 'cispo'", "missing field `epsilon_high`"),
            (
                "surrogate = { kind = 'cispo', epsilon_high = 3.0 }\ntemperature = 'hot'",
                "sampling.temperature` is",
            ),
            ("num_training_steps = 9", "`algorithm.schedule.num_training_steps` has no effect"),
            (
                "recipe = 'dr-grpo'\nddof = 'sample'",
                "advantage.ddof` has no effect: `algorithm.recipe.advantage.kind` is `centered`",
            ),
            ("lora = 16", "`policy.lora` is 16: this is a table: set one of its keys"),
            ("device = 'abacus'", "unknown variant `abacus`"),
            (
                "[[rewards]]\nkind = 'corectness'",
                "there is no reward `corectness`: did you mean `correctness`?",
            ),
            ("[[rewards]]\nname = 'right'", "a reward has a `kind` or a `command`: see `grpo rewards`"),
            (
                "[[rewards]]\ncommand = ['a']\ntimout = 1",
                "reward `command` has no key `timout`: did you mean `timeout`?",
            ),
            ("[[rewards]]\ncommand = 'a'", "`command` is \"a\""),
            (
                "[[rewards]]\nkind = 'numeric'\nmarks = 1",
                "reward `numeric` has no key `marks`: it can have gate, kind, name, reward, weight",
            ),
            ("rewards = 3", "`task.rewards` is 3: it must be a list"),
            ("rewards = [1]", "it must be a table"),
            ("group_size = -1", "it must be a whole number of at least 0"),
            ("columns.truth = 'wholes'", "choose hashes, whole, boxed, { pattern"),
            (
                "columns.truth = { pattern = 'x' }\n[task.columns]\ntruth = 'whole'",
                "columns.truth` has two values",
            ),
            ("recipe = 'dapo'\n[algorithm]\nrecipe = 'grpo'", "`algorithm.recipe` has two values"),
            ("[rewards]\nkind = 'numeric'", "this is a list of tables: write `[[rewards]]`"),
            ("[[rewards]]\nkind = 'numeric'\nweigth = 1", "no key `weigth`: did you mean `weight`?"),
            (
                "[[rewards]]\nkind = 'numeric'\nweight = 'x'",
                "reward `numeric`: `weight` is \"x\": it must be a number",
            ),
            ("[[rewards]]\nkind = 'numeric'\nweight = inf", "`weight` is not a finite number"),
            ("[[rewards]]\nkind = 'numeric'\nreward = 'lots'", "`reward` is \"lots\": it must be a number"),
            ("[[rewards]]\nkind = 'must_match'", "reward `must_match`: missing field `pattern`"),
            ("beta = 0.1\nalgorithm.recipe.objective.beta = 0.2", "beta` has two values"),
            ("rewards = []\n[[task.rewards]]\nkind = 'numeric'", "`task.rewards` has two values"),
            ("group_size =", "this is not TOML"),
        ] {
            let message = config(&[text]).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_value_is_toml_or_plain_text() {
        let mut settings = Settings::default();
        for assignment in
            ["beta=0", "model=Qwen/Qwen2.5-0.5B", "lora.targets=['q_proj']", "max_grad_norm=none"]
        {
            settings.assign(assignment).unwrap();
        }
        let config = settings.config().unwrap();
        assert_eq!(
            (config.algorithm.recipe.objective.beta, config.task.model.as_str()),
            (0.0, "Qwen/Qwen2.5-0.5B")
        );
        assert_eq!(
            (config.policy.lora.unwrap().targets.len(), config.algorithm.max_grad_norm),
            (1, f64::INFINITY)
        );
        assert!(settings.assign("beta").is_err());
    }
}
