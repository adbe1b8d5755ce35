//! Where a folder stores its chat template, and the parts of its text that the engine does not support.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

use crate::ModelError;
use crate::text_file::read_text;
use crate::tokenizer_config::{self, TokenizerConfig};

const FILE: &str = "chat_template.jinja";

/// The most bytes of a template: several times the size of published ones, and as many columns as the engine can count.
const MAX_LENGTH: usize = (1 << 16) - 1;

// Comments, raw blocks and tags are matched whole, so that text inside them that only looks like a tag is left alone. One that
// is not closed extends to the end, so that it is not searched for repeatedly.
static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    let comment = r"\{#.*?(?:#\}|\z)";
    let raw = r"(?P<raw>\{%[-+]?\s*raw\s*)(?P<text>[-+]?%\}.*?(?:\{%[-+]?\s*endraw\s*[-+]?%\}|\z))";
    let generation = r"(?P<open>\{%[-+]?\s*)(?P<end>end)?generation(?P<close>\s*[-+]?%\})";
    let quoted = r#""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"#;
    let other = format!(r"\{{[%{{](?:{quoted}|.)*?(?:[%}}]\}}|\z)");
    Regex::new(&format!("(?s){comment}|{raw}|{generation}|{other}")).expect("it is valid")
});

/// The template of a folder, ready for the engine, and the file that it comes from.
pub(super) fn find(folder: &Path, config: &TokenizerConfig) -> Result<(PathBuf, String), ModelError> {
    let file = folder.join(FILE);
    let beside = folder.join(tokenizer_config::FILE);
    let other = default_template(&config.chat_template);
    if !file.exists() {
        let source = other.and_then(|source| prepare(&source));
        return source
            .map(|source| (beside.clone(), source))
            .map_err(|reason| ModelError::Template { path: beside, reason });
    }
    let source =
        prepare(&read_text(&file)?).map_err(|reason| ModelError::Template { path: file.clone(), reason })?;
    if other.is_ok_and(|other| prepare(&other).as_ref() != Ok(&source)) {
        let (file, beside) = (file.display(), beside.display());
        tracing::warn!("{file} is the chat template; another one in {beside} is not used");
    }
    Ok((file, source))
}

/// A template, or the one named `default` in a list of `{ "name", "template" }` or in an object; or why there is none.
fn default_template(value: &Value) -> Result<String, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let named: Vec<(Option<String>, Option<String>)> = match value {
        Value::String(template) => return Ok(template.clone()),
        Value::Array(list) => {
            list.iter().map(|entry| (text(&entry["name"]), text(&entry["template"]))).collect()
        }
        Value::Object(map) => {
            map.iter().map(|(name, template)| (Some(name.clone()), text(template))).collect()
        }
        Value::Null => {
            let advice = "use an instruction-tuned model, whose tokenizer_config.json has a `chat_template`";
            return Err(format!("is missing: {advice}"));
        }
        other => return Err(format!("is {other}, but it must be a string")),
    };
    let names: Vec<String> = named.iter().filter_map(|(name, _)| name.clone()).collect();
    let default = named.into_iter().find(|(name, _)| name.as_deref() == Some("default"));
    default.and_then(|(_, template)| template).ok_or_else(|| {
        format!(
            "has no form named `default`, only these: [{}]; save the one to use as {FILE}",
            names.join(", ")
        )
    })
}

/// The source that the engine receives: line ends as Jinja normalizes them, and no tags that the engine lacks or reads
/// differently; or what is wrong with the template.
fn prepare(source: &str) -> Result<String, String> {
    if source.trim().is_empty() {
        return Err("is empty: restore it".to_owned());
    }
    if source.len() > MAX_LENGTH {
        return Err(format!("has {} bytes, but may have at most {MAX_LENGTH}", source.len()));
    }
    Ok(with_known_tags(&unix_lines(source)))
}

fn unix_lines(source: &str) -> String {
    source.replace("\r\n", "\n").replace('\r', "\n")
}

/// The source with the tags around what the assistant says, which only mark it, turned into blocks that do nothing: variables
/// set inside them are not visible after them, as in transformers. Raw blocks keep their first line end, as in Jinja.
fn with_known_tags(source: &str) -> String {
    let replace = |tag: &Captures<'_>| match (tag.name("open"), tag.name("raw")) {
        (Some(open), _) => {
            let end = tag.name("end").map_or("", |end| end.as_str());
            format!("{}{end}with{}", open.as_str(), &tag["close"])
        }
        (_, Some(raw)) if tag["text"].starts_with("%}") => format!("{}+{}", raw.as_str(), &tag["text"]),
        _ => tag[0].to_owned(),
    };
    TAGS.replace_all(source, replace).into_owned()
}
