//! Python's `json.dumps`, with which transformers replaces Jinja's own `tojson`.

use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Error, ErrorKind, State, Value};

/// How deeply lists and maps may be nested: far below the depth that overflows the stack.
const MAX_DEPTH: usize = 100;

/// `value | tojson(ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    arguments: Rest<ValueOrKwargs>,
) -> Result<String, Error> {
    let arguments = arguments.into_values();
    let (by_place, by_name) = from_args::<(&[Value], Kwargs)>(&arguments)?;
    let argument = |place: usize, name: &str| match by_place.get(place) {
        Some(value) => Ok(value.clone()),
        None => by_name.get::<Option<Value>>(name).map(Option::unwrap_or_default),
    };
    let ensure_ascii = argument(0, "ensure_ascii")?.is_true();
    let indent = indentation(&argument(1, "indent")?)?;
    let separators = separators(&argument(2, "separators")?, indent.is_some())?;
    let sort_keys = argument(3, "sort_keys")?.is_true();
    by_name.assert_all_used()?;
    let style = Style { ensure_ascii, indent, separators, sort_keys };
    let mut dumps = Dumps { state, style: &style, text: String::new() };
    dumps.value(value, 0)?;
    Ok(dumps.text)
}

/// The separators between items, and between a key and its value.
fn separators(value: &Value, indented: bool) -> Result<[String; 2], Error> {
    if is_absent(value) {
        return Ok([if indented { "," } else { ", " }, ": "].map(str::to_owned));
    }
    let texts: Vec<String> = value.try_iter()?.map(|text| text.to_string()).collect();
    texts.try_into().map_err(|_| invalid("separators must be two strings".to_owned()))
}

/// The text that `indent` puts before a value, and how often it is repeated per nesting level.
fn indentation(value: &Value) -> Result<Option<(String, usize)>, Error> {
    if is_absent(value) {
        return Ok(None);
    }
    Ok(Some(match value.as_str() {
        Some(text) => (text.to_owned(), 1),
        None => (" ".to_owned(), usize::try_from(i64::try_from(value.clone())?).unwrap_or(0)),
    }))
}

fn is_absent(value: &Value) -> bool {
    value.is_none() || value.is_undefined()
}

struct Style {
    ensure_ascii: bool,
    indent: Option<(String, usize)>,
    separators: [String; 2],
    sort_keys: bool,
}

struct Dumps<'a> {
    state: &'a State<'a, 'a>,
    style: &'a Style,
    text: String,
}

impl Dumps<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        // Lists that contain each other twice are small in memory, but endless here.
        self.state.consume_fuel(1)?;
        if depth > MAX_DEPTH {
            return Err(invalid("it is nested too deeply to be written as JSON".to_owned()));
        }
        match value.kind() {
            ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&number(value)),
            ValueKind::String => self.string(&value.to_string()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.map(|item| (None, item)).collect();
                self.items(["[", "]"], items, depth)
            }
            ValueKind::Map => {
                let mut items = Vec::new();
                for key in value.try_iter()? {
                    items.push((Some(key_text(&key)?), value.get_item(&key)?));
                }
                if self.style.sort_keys {
                    items.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.items(["{", "}"], items, depth)
            }
            kind => Err(invalid(format!("{kind} cannot be written as JSON"))),
        }
    }

    fn items(
        &mut self,
        [open, close]: [&str; 2],
        items: Vec<(Option<String>, Value)>,
        depth: usize,
    ) -> Result<(), Error> {
        let [between, colon] = &self.style.separators;
        self.push(open)?;
        let empty = items.is_empty();
        for (i, (key, value)) in items.into_iter().enumerate() {
            if i > 0 {
                self.push(between)?;
            }
            self.new_line(depth + 1)?;
            if let Some(key) = key {
                self.string(&key)?;
                self.push(colon)?;
            }
            self.value(&value, depth + 1)?;
        }
        if !empty {
            self.new_line(depth)?;
        }
        self.push(close)
    }

    fn new_line(&mut self, depth: usize) -> Result<(), Error> {
        let Some((text, times)) = &self.style.indent else { return Ok(()) };
        self.push("\n")?;
        (0..depth.saturating_mul(*times)).try_for_each(|_| {
            self.state.consume_fuel(1)?;
            self.push(text)
        })
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        let mut quoted = String::from('"');
        for c in text.chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\u{8}' => quoted.push_str("\\b"),
                '\u{c}' => quoted.push_str("\\f"),
                c if c < ' ' || (self.style.ensure_ascii && c > '~') => {
                    let units = c.encode_utf16(&mut [0; 2]).to_vec();
                    quoted.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
                }
                c => quoted.push(c),
            }
        }
        quoted.push('"');
        self.push(&quoted)
    }

    /// Writes a text, and charges for it as the engine does for the text that it produces.
    fn push(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel((text.len() / 64) as u64)?;
        self.text.push_str(text);
        Ok(())
    }
}

/// A key, which is always a string in JSON.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.to_string()),
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => Ok(number(key)),
        kind => Err(invalid(format!("{kind} cannot be a JSON key"))),
    }
}

/// A number as Python writes it: a float has a point or an exponent; exponents are used from 1e16 upward and below 1e-4.
pub(super) fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let float = f64::try_from(value.clone()).unwrap_or(f64::NAN);
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if float != 0.0 && !(1e-4..1e16).contains(&float.abs()) {
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once('e').expect("the format has an exponent");
        let sign = if exponent.starts_with('-') { '-' } else { '+' };
        return format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'));
    }
    format!("{float:?}")
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}
