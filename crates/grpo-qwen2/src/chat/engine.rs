//! The template engine, with what transformers adds to Jinja.

use std::fmt::Write;

use chrono::NaiveDateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::json_dumps::{number, tojson};
use super::python;

/// The name of the only template.
pub(super) const NAME: &str = "chat";

/// The limit on what rendering may cost, in instructions and in intermediate text (64 bytes count as one instruction): far
/// above any real template, and soon reached by an endless loop.
const FUEL: u64 = 1_000_000;

/// An environment that holds the template with this source.
pub(super) fn environment(source: String) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the standard delimiters are valid"));
    environment.set_fuel(Some(FUEL));
    python::add_to(&mut environment);
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment
        .add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.to_vec()));
    environment.add_filter("tojson", tojson);
    // Formatted as Python formats floats.
    environment.set_formatter(|out, state, value| match value.kind() {
        ValueKind::Number => out.write_str(&number(value)).map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_template_owned(NAME, source)?;
    Ok(environment)
}

/// Sets the time that `strftime_now` returns.
pub(super) fn set_clock(environment: &mut Environment<'static>, now: NaiveDateTime) {
    environment.add_function("strftime_now", move |state: &State<'_, '_>, format: String| {
        state.consume_fuel((format.len() / 64) as u64)?;
        strftime(now, &format)
    });
}

/// Python's `strftime` of a time without a zone.
fn strftime(now: NaiveDateTime, format: &str) -> Result<String, Error> {
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, directive)) = rest.split_once('%') {
        text.push_str(before);
        // As in `%-d`.
        let plain = directive.trim_start_matches(['-', '_', '0']);
        let end = directive.len() - plain.len() + plain.chars().next().map_or(0, char::len_utf8);
        let (directive, behind) = directive.split_at(end);
        let written = match directive {
            "f" => write!(text, "{}", now.format("%6f")),
            "z" | "Z" => Ok(()),
            directive => write!(text, "{}", now.format(&format!("%{directive}"))),
        };
        written.map_err(|_| {
            let reason = format!("strftime_now does not know `%{directive}`");
            Error::new(ErrorKind::InvalidOperation, reason)
        })?;
        rest = behind;
    }
    Ok(text + rest)
}
