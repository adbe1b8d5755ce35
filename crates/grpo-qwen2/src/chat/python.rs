//! Methods and tests of Python's values that differ from the engine's: white space, line ends, and which values have a length.

use minijinja::value::{ValueKind, from_args};
use minijinja::{Environment, Error, State, Value};
use minijinja_contrib::pycompat;

/// Adds them to an environment.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.add_filter("trim", |state: &mut State<'_, '_>, text: String, characters: Option<Value>| {
        method(state, &text.into(), "strip", &characters.into_iter().collect::<Vec<_>>())
    });
    for name in ["escape", "e"] {
        environment.add_filter(name, |text: String| Value::from_safe_string(escaped(&text)));
    }
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("sequence", |value: &Value| {
        matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map | ValueKind::String | ValueKind::Undefined
        )
    });
}

fn method(state: &mut State<'_, '_>, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, name, arguments);
    };
    let pair = |found: Option<(&str, &str)>, separator: &str, [before, after]: [&str; 2]| match found {
        Some((head, tail)) => Value::from_iter([head, separator, tail]),
        None => Value::from_iter([before, "", after]),
    };
    let plain = arguments.iter().all(Value::is_none);
    Ok(match name {
        "strip" if plain => text.trim_matches(is_space).into(),
        "lstrip" if plain => text.trim_start_matches(is_space).into(),
        "rstrip" if plain => text.trim_end_matches(is_space).into(),
        "split" | "rsplit" if plain => text.split(is_space).filter(|word| !word.is_empty()).collect(),
        "isspace" => (!text.is_empty() && text.chars().all(is_space)).into(),
        "splitlines" => lines(text, from_args::<(Option<bool>,)>(arguments)?.0.unwrap_or(false)).collect(),
        "rsplit" => {
            let (separator, most) = from_args::<(&str, Option<i64>)>(arguments)?;
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX - 1);
            let mut parts: Vec<&str> = text.rsplitn(most + 1, separator).collect();
            parts.reverse();
            parts.into_iter().collect()
        }
        "partition" => {
            let (separator,) = from_args::<(&str,)>(arguments)?;
            pair(text.split_once(separator), separator, [text, ""])
        }
        "rpartition" => {
            let (separator,) = from_args::<(&str,)>(arguments)?;
            pair(text.rsplit_once(separator), separator, ["", text])
        }
        "title" => titled(text).into(),
        "removeprefix" => {
            let (prefix,) = from_args::<(&str,)>(arguments)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,) = from_args::<(&str,)>(arguments)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        _ => return pycompat::unknown_method_callback(state, value, name, arguments),
    })
}

/// Unicode's white space, and the four ASCII separators that Python counts as white space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Every letter that follows another letter in lower case, and the others capitalized.
fn titled(text: &str) -> String {
    let mut is_inside = false;
    let mut titled = String::with_capacity(text.len());
    for c in text.chars() {
        if is_inside {
            titled.extend(c.to_lowercase());
        } else {
            titled.extend(c.to_uppercase());
        }
        is_inside = c.is_alphabetic();
    }
    titled
}

/// Escapes as MarkupSafe does.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&#34;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The lines of a text. More characters end a line here than in a file.
fn lines(text: &str, keep_ends: bool) -> impl Iterator<Item = &str> {
    const ENDS: [char; 10] =
        ['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    let mut rest = text;
    std::iter::from_fn(move || {
        let (at, end) = match rest.find(ENDS) {
            _ if rest.is_empty() => return None,
            Some(at) if rest[at..].starts_with("\r\n") => (at, 2),
            Some(at) => (at, rest[at..].chars().next().map_or(0, char::len_utf8)),
            None => (rest.len(), 0),
        };
        let (line, tail) = rest.split_at(at + end);
        rest = tail;
        Some(if keep_ends { line } else { &line[..at] })
    })
}
