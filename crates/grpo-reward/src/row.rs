//! A row of a dataset, as rewards see it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A truth that is text, with the other columns of its row. Without columns, it is written as its text alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Form", into = "Form")]
pub struct Row {
    /// What the answer is compared with.
    pub truth: String,
    /// Columns by their names.
    pub columns: Map<String, Value>,
}

/// A row in a file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Row { truth: String, columns: Map<String, Value> },
}

impl From<Form> for Row {
    fn from(form: Form) -> Self {
        match form {
            Form::Text(truth) => Self { truth, columns: Map::new() },
            Form::Row { truth, columns } => Self { truth, columns },
        }
    }
}

impl From<Row> for Form {
    fn from(Row { truth, columns }: Row) -> Self {
        if columns.is_empty() { Self::Text(truth) } else { Self::Row { truth, columns } }
    }
}

impl From<&str> for Row {
    fn from(truth: &str) -> Self {
        Self { truth: truth.to_owned(), columns: Map::new() }
    }
}

impl AsRef<str> for Row {
    fn as_ref(&self) -> &str {
        &self.truth
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_without_columns_is_a_text() {
        let row = Row { columns: json!({ "n": 1 }).as_object().unwrap().clone(), ..Row::from("5") };
        for (row, form) in
            [(Row::from("5"), json!("5")), (row, json!({ "truth": "5", "columns": { "n": 1 } }))]
        {
            assert_eq!(json!(row), form);
            assert_eq!(serde_json::from_value::<Row>(form).unwrap(), row);
        }
    }
}
