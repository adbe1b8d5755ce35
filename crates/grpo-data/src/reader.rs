//! Makes examples of rows.

use std::fmt;
use std::path::Path;

use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use minijinja_contrib::pycompat;
use regex::Regex;
use serde_json::{Map, Number, Value};

use crate::conversation::conversation;
use crate::truth::{after_hashes, boxed};
use crate::{Columns, Example, LoadError, Truth, Turn};

/// The columns of a row.
pub(crate) type Row = Map<String, Value>;

/// Steps that a template or a filter may take for one row.
const FUEL: u64 = 1_000_000;

/// Where a row is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    /// What the file consists of: `line` or `row`.
    pub(crate) unit: &'static str,
    /// From 1.
    pub(crate) number: usize,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.path.display(), self.unit, self.number)
    }
}

/// Reads rows as [`Columns`] say.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) columns: Columns,
    /// Each under the name of its setting.
    templates: Environment<'static>,
    /// That of [`Truth::Pattern`].
    pattern: Option<Regex>,
}

const PROMPT: &str = "prompt";
const TRUTH: &str = "truth";
const FILTER: &str = "filter";

impl Reader {
    /// # Errors
    ///
    /// If a pattern, a template or the filter is malformed.
    pub(crate) fn new(columns: &Columns) -> Result<Self, LoadError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_unknown_method_callback(pycompat::unknown_method_callback);
        templates.set_fuel(Some(FUEL));
        let Columns { truth, prompt, filter, .. } = columns;
        let truth_template = match truth {
            Truth::Template(template) => Some(template),
            _ => None,
        };
        let default = Columns::default();
        for (setting, key, is_set) in [
            (PROMPT, "question", prompt.is_some() && columns.question != default.question),
            (TRUTH, "answer", truth_template.is_some() && columns.answer != default.answer),
        ] {
            if is_set {
                let reason = format!("it takes the place of the column `{key}`: leave one of them out");
                return Err(LoadError::Template { setting, reason });
            }
        }
        let invalid = |setting| move |e: minijinja::Error| LoadError::template(setting, &e);
        for (setting, source) in [(PROMPT, prompt.as_ref()), (TRUTH, truth_template)] {
            if let Some(source) = source {
                templates.add_template_owned(setting, source.clone()).map_err(invalid(setting))?;
            }
        }
        if let Some(filter) = filter {
            templates.compile_expression(filter).map_err(invalid(FILTER))?;
        }
        let pattern = match truth {
            Truth::Pattern(pattern) => Some(
                Regex::new(pattern)
                    .map_err(|e| LoadError::Pattern { pattern: pattern.clone(), reason: e.to_string() })?,
            ),
            _ => None,
        };
        Ok(Self { columns: columns.clone(), templates, pattern })
    }

    /// The example of a row, which has the [required](Columns::required) columns; none if the filter leaves it out.
    pub(crate) fn example(&self, place: Place<'_>, mut row: Row) -> Result<Option<Example>, LoadError> {
        if !self.is_wanted(place, &row)? {
            return Ok(None);
        }
        let Columns { question, answer, .. } = &self.columns;
        let (history, prompt, last) = match self.columns.prompt {
            Some(_) => (Vec::new(), self.render(place, PROMPT, &row)?, None),
            None => self.question(place, &row[question])?,
        };
        let solution = match (&self.columns.truth, last) {
            (Truth::Template(_), _) => self.render(place, TRUTH, &row)?.trim().to_owned(),
            // The question is a conversation that ends with the answer.
            (_, Some(last)) if question == answer => last,
            _ => self.answer(place, answer, &row[answer])?,
        };
        let truth = self.truth(&solution).filter(|truth| !truth.is_empty());
        let truth = truth.ok_or_else(|| LoadError::NoTruth {
            path: place.path.to_owned(),
            row: place.number,
            reason: self.advice(),
        })?;
        if self.columns.prompt.is_none() {
            row.remove(question);
        }
        if self.columns.truth == Truth::Whole {
            row.remove(answer);
        }
        Ok(Some(Example { history, question: prompt, solution, truth, columns: row }))
    }

    fn is_wanted(&self, place: Place<'_>, row: &Row) -> Result<bool, LoadError> {
        let Some(filter) = &self.columns.filter else { return Ok(true) };
        let invalid = |e| LoadError::template(FILTER, &e);
        let filter = self.templates.compile_expression(filter).map_err(invalid)?;
        let wanted = filter.eval(Serde(row)).and_then(|wanted| match wanted.kind() {
            ValueKind::Bool => Ok(wanted.is_true()),
            ValueKind::Undefined => Err(ErrorKind::UndefinedError.into()),
            other => {
                let reason = format!("it is a {other}, neither true nor false");
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, reason))
            }
        });
        wanted.map_err(|e| LoadError::render(place, FILTER, row, &e, &filter.undeclared_variables(false)))
    }

    fn render(&self, place: Place<'_>, setting: &'static str, row: &Row) -> Result<String, LoadError> {
        let template = self.templates.get_template(setting).map_err(|e| LoadError::template(setting, &e))?;
        let failed = |e| LoadError::render(place, setting, row, &e, &template.undeclared_variables(false));
        template.render(Serde(row)).map_err(failed)
    }

    /// The messages before a question, the question, and an answer after it.
    fn question(
        &self,
        place: Place<'_>,
        value: &Value,
    ) -> Result<(Vec<Turn>, String, Option<String>), LoadError> {
        let Columns { question, answer, .. } = &self.columns;
        match value {
            Value::String(_) if question == answer => Err(LoadError::SameColumn { column: question.clone() }),
            Value::String(text) => Ok((Vec::new(), text.clone(), None)),
            Value::Array(messages) => conversation(messages).map_err(|reason| LoadError::Conversation {
                place: place.to_string(),
                column: question.clone(),
                reason,
            }),
            other => Err(wrong_type(place, question, other)),
        }
    }

    /// An answer; a whole number may be its own truth.
    fn answer(&self, place: Place<'_>, column: &str, value: &Value) -> Result<String, LoadError> {
        match value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) if self.columns.truth != Truth::Hashes && is_whole(number) => {
                Ok(number.to_string().trim_end_matches(".0").to_owned())
            }
            Value::Array(_) if column == self.columns.question => Err(LoadError::Conversation {
                place: place.to_string(),
                column: column.to_owned(),
                reason: "does not end with an answer of the assistant".to_owned(),
            }),
            other => Err(wrong_type(place, column, other)),
        }
    }

    fn truth(&self, solution: &str) -> Option<String> {
        let found = match &self.columns.truth {
            Truth::Hashes => return after_hashes(solution),
            Truth::Whole | Truth::Template(_) => solution,
            Truth::Boxed => boxed(solution)?,
            Truth::Pattern(_) => {
                let found = self.pattern.as_ref()?.captures_iter(solution).last()?;
                found.iter().skip(1).flatten().next().or(found.get(0))?.as_str()
            }
        };
        Some(found.trim().to_owned())
    }

    /// What an answer without a truth lacks, and what to do.
    fn advice(&self) -> String {
        match &self.columns.truth {
            Truth::Hashes => {
                "has no result after `####`; end it with a line `#### 42`, or set `truth`".to_owned()
            }
            Truth::Whole => "is empty; fill or remove the row".to_owned(),
            Truth::Boxed => "has no `\\boxed{…}`, or an empty one; add it, or set `truth`".to_owned(),
            Truth::Pattern(pattern) => {
                format!("has no match of {pattern:?}, or an empty one; change the pattern, or the row")
            }
            Truth::Template(_) => "is empty: change the template of `truth`, or the row".to_owned(),
        }
    }
}

/// Whether a number is whole, as 24 and 24.0 are.
fn is_whole(number: &Number) -> bool {
    // Beyond 2^53, not every whole number is an f64.
    !number.is_f64() || number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() < 9e15)
}

fn wrong_type(place: Place<'_>, column: &str, value: &Value) -> LoadError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if !is_whole(number) => "a number that is not whole",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    LoadError::Type { place: place.to_string(), column: column.to_owned(), found: found.to_owned() }
}
