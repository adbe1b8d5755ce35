//! What two JSON values differ in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What two settings differ in, each as `recipe.objective.beta: 0.04 -> 0.1`.
pub fn differences(then: &Value, now: &Value) -> Vec<String> {
    let (then, now) = (leaves(then), leaves(now));
    let shown = |value: Option<&Value>| value.map_or("none".to_string(), Value::to_string);
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let changed = names.into_iter().filter(|name| then.get(*name) != now.get(*name));
    changed.map(|name| format!("{name}: {} -> {}", shown(then.get(name)), shown(now.get(name)))).collect()
}

/// The values that are no objects, by their names from the outermost to the innermost.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let Value::Object(map) = value else { return BTreeMap::from([(String::new(), value.clone())]) };
    let inner = |(name, value): (&String, &Value)| -> Vec<(String, Value)> {
        let join = |rest: String| if rest.is_empty() { name.clone() } else { format!("{name}.{rest}") };
        leaves(value).into_iter().map(|(rest, value)| (join(rest), value)).collect()
    };
    map.iter().flat_map(inner).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named() {
        let then = json!({ "a": { "b": 0.04, "c": [1] }, "gone": true, "same": "x" });
        let now = json!({ "a": { "b": 0.1, "c": [1] }, "new": {}, "same": "x" });
        assert_eq!(differences(&then, &now), ["a.b: 0.04 -> 0.1", "gone: true -> none"]);
        assert!(differences(&now, &now).is_empty());
    }
}
