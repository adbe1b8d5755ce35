//! A table: columns of the same length.

/// Some rows, column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The columns with their names.
    pub columns: Vec<(String, Column)>,
}

/// A column; none where a row has no value.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Whole numbers.
    Integers(Vec<Option<i64>>),
    /// Numbers.
    Numbers(Vec<Option<f64>>),
    /// Texts.
    Texts(Vec<Option<String>>),
}

impl Column {
    /// Number of rows.
    fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// The value of a row as text, which is empty if there is none.
    pub(crate) fn text(&self, row: usize) -> String {
        match self {
            Self::Integers(values) => values[row].map(|value| value.to_string()),
            // With a point, so that readers take the column for numbers that are not whole.
            Self::Numbers(values) => values[row].map(|value| format!("{value:?}")),
            Self::Texts(values) => values[row].clone(),
        }
        .unwrap_or_default()
    }
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }
}
