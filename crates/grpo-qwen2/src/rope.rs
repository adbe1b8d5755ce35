//! The settings of rotary positions in `config.json`, under any of its keys.

use serde_json::{Map, Value};

use crate::text_file::shown;

/// Parameters, and the key that they are under.
type Named<'a> = (String, &'a Map<String, Value>);

/// A key, its value, and what is supported instead.
type Refused = [String; 3];

/// The base of the positions, on which all keys must agree: `rope_theta` of the published checkpoints, `rope_parameters` of
/// transformers 5 and its older name `rope_scaling`, either of them once or once per type of layer.
pub(crate) fn theta(config: &Map<String, Value>) -> Result<f64, Refused> {
    let mut found =
        number("rope_theta", config.get("rope_theta"))?.map(|theta| ("rope_theta".to_owned(), theta));
    for (name, parameters) in parameters(config)? {
        check_default(&name, parameters)?;
        let key = format!("{name}.rope_theta");
        match (&found, number(&key, parameters.get("rope_theta"))?) {
            (Some((other, theta)), Some(value)) if *theta != value => {
                let expected = format!("{other} is {theta}: all layers must have the same base");
                return Err([key, value.to_string(), expected]);
            }
            (None, Some(theta)) => found = Some((key, theta)),
            _ => {}
        }
    }
    let theta = found.map_or(10_000.0, |(_, theta)| theta);
    if theta > 0.0 {
        Ok(theta)
    } else {
        Err(["rope_theta".into(), theta.to_string(), "it must be above 0".into()])
    }
}

/// Every set of parameters, by name: those under a key, and those of each type of layer within them.
fn parameters(config: &Map<String, Value>) -> Result<Vec<Named<'_>>, Refused> {
    let mut all = Vec::new();
    for key in ["rope_parameters", "rope_scaling"] {
        let map = match config.get(key) {
            None | Some(Value::Null) => continue,
            Some(Value::Object(map)) => map,
            Some(other) => return Err([key.into(), other.to_string(), "it must be an object".into()]),
        };
        all.push((key.to_owned(), map));
        let by_layer = map.iter().filter_map(|(name, of)| Some((format!("{key}.{name}"), of.as_object()?)));
        all.extend(by_layer);
    }
    Ok(all)
}

fn number(name: &str, value: Option<&Value>) -> Result<Option<f64>, Refused> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err([name.into(), value.to_string(), "it must be a number".into()]),
        },
    }
}

/// Rejects any setting that would change the positions.
fn check_default(name: &str, parameters: &Map<String, Value>) -> Result<(), Refused> {
    let is_type = |key: &str| ["rope_type", "type"].contains(&key);
    let set = parameters.iter().filter(|(_, value)| !value.is_null() && !value.is_object());
    // The type first: it determines what the others mean.
    let (types, others): (Vec<_>, Vec<_>) = set.partition(|(key, _)| is_type(key));
    for (key, value) in types.into_iter().chain(others) {
        let fits = match key.as_str() {
            "rope_theta" | "original_max_position_embeddings" => true,
            key if is_type(key) => value == "default",
            "factor" | "partial_rotary_factor" => value.as_f64() == Some(1.0),
            _ => false,
        };
        if !fits {
            return Err([
                format!("{name}.{key}"),
                shown(value),
                "only unscaled positions are supported".into(),
            ]);
        }
    }
    Ok(())
}
