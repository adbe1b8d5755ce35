//! All configuration keys.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use grpo_core::{Bound, Level, Paper, SamplerCorrection};
use grpo_data::Truth;
use grpo_trainer::{RolloutDtype, Schedule};
use serde_json::{Value, json};

use super::ConfigError;
use super::defaults::Choices;

/// Minimum Jaro-Winkler similarity (1 if equal) of a suggested key.
const LIKENESS: f64 = 0.8;

/// Every full key, starting with the section: `algorithm.recipe.objective.beta`.
static KEYS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let mut keys = BTreeSet::new();
    for paper in Paper::ALL {
        let mut config =
            Choices { lora: Some(1), moves_reference: true, has_curriculum: true, ..Choices::default() }
                .defaults();
        config.algorithm.recipe = paper.recipe(1);
        config.task.columns.truth = Truth::Template(String::new());
        collect(&json!(config.task.columns), "task.columns", &mut keys);
        config.task.columns.truth = Truth::Pattern(String::new());
        config.algorithm.schedule = Schedule::Linear { steps: 1 };
        let correction = SamplerCorrection { level: Level::Token, bound: Bound::Mask, min: 0.0, max: 1.0 };
        config.policy.rollout_dtype = RolloutDtype::Bf16(correction);
        collect(&json!(config), "", &mut keys);
    }
    keys
});

fn collect(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let Value::Object(map) = value else { return };
    for (name, inner) in map {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(inner, &path, keys);
        keys.insert(path);
    }
}

/// Every key.
#[cfg(test)]
pub(super) fn all() -> &'static BTreeSet<String> {
    &KEYS
}

/// Whether this is a full key.
pub(super) fn is_key(key: &str) -> bool {
    KEYS.contains(key)
}

/// The full key for a short one: the key that ends with it; if there are several, the one nearest the top.
pub(super) fn resolve(key: &str) -> Result<String, ConfigError> {
    if KEYS.contains(key) {
        return Ok(key.to_string());
    }
    let depth = |key: &str| key.split('.').count();
    let ending = format!(".{key}");
    let candidates: Vec<&String> = KEYS.iter().filter(|whole| whole.ends_with(&ending)).collect();
    let Some(top) = candidates.iter().map(|whole| depth(whole)).min() else {
        return Err(ConfigError::UnknownKey { key: key.to_string(), nearest: nearest(key) });
    };
    match candidates.iter().filter(|whole| depth(whole) == top).collect::<Vec<_>>()[..] {
        [only] => Ok((*only).clone()),
        _ => Err(ConfigError::AmbiguousKey {
            key: key.to_string(),
            candidates: candidates.into_iter().cloned().collect(),
        }),
    }
}

/// The shortest form of a key that stands for it.
pub(super) fn shortest(key: &str) -> &str {
    let starts = key.rmatch_indices('.').map(|(at, _)| at + 1).chain([0]);
    let mut forms = starts.map(|start| &key[start..]);
    forms.find(|form| resolve(form).is_ok_and(|whole| whole == key)).unwrap_or(key)
}

/// The shortest form of the key most similar to an unknown one.
fn nearest(key: &str) -> Option<String> {
    let forms = KEYS.iter().flat_map(|whole| {
        let starts = std::iter::once(0).chain(whole.match_indices('.').map(|(at, _)| at + 1));
        starts.map(|start| &whole[start..])
    });
    most_similar(key, forms).map(str::to_string)
}

/// The name most similar to an unknown one, if it is similar; of several, the shortest.
pub(super) fn most_similar<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(&unknown.to_lowercase(), name);
    let (name, score) = names
        .map(|name| (name, likeness(name)))
        .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.len().cmp(&a.0.len())))?;
    (score >= LIKENESS).then_some(name)
}

/// The JSON of a configuration at a key, if it has the key.
pub(super) fn get<'a>(config: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(config, |value, name| value.get(name))
}

/// A configuration with the optional tables of `key` filled with defaults, so that part of a table can be set.
pub(super) fn open(config: &mut Value, key: &str, value: &Value) {
    for table in ["policy.lora", "algorithm.reference_sync", "task.curriculum"] {
        let opens = key.starts_with(&format!("{table}.")) || (key == table && value.is_object());
        if opens && get(config, table).is_none_or(Value::is_null) {
            let full =
                Choices { lora: Some(16), moves_reference: true, has_curriculum: true, ..Choices::default() };
            *at_mut(config, table) = get(&json!(full.defaults()), table).cloned().unwrap_or_default();
        }
    }
}

/// The same, mutable; created if missing.
pub(super) fn at_mut<'a>(config: &'a mut Value, key: &str) -> &'a mut Value {
    key.split('.').fold(config, |value, name| {
        if !value.is_object() {
            *value = json!({});
        }
        &mut value[name]
    })
}
