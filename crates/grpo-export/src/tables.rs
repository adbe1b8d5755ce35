//! The tables of a run: its steps, and its completions.

use grpo_record::{CompletionRecord, Lines, Place, RecordError, Run};
use serde_json::Value;

use crate::{Column, Table};

/// Completions of a table.
const ROWS: usize = 4096;

/// The steps of a run: a row each, with a column for every metric and time, and one for what was found to go wrong.
pub fn steps(run: &Run) -> Table {
    let mut columns = vec![("step".to_owned(), integers(run.steps.iter().copied()))];
    let numbers =
        |(name, values): (&String, &Vec<Option<f64>>)| (name.clone(), Column::Numbers(values.clone()));
    columns.extend(run.columns.iter().map(numbers));
    let found = |step: &u64| {
        let texts: Vec<&str> =
            run.diagnoses.iter().filter(|(of, _)| of == step).map(|(_, text)| text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    };
    columns.push(("diagnoses".to_owned(), Column::Texts(run.steps.iter().map(found).collect())));
    Table { columns }
}

/// A column of whole numbers; none where one is beyond what tables can hold.
fn integers(numbers: impl Iterator<Item = u64>) -> Column {
    Column::Integers(numbers.map(|number| i64::try_from(number).ok()).collect())
}

/// The completions of a run in the order in which they were recorded, some thousands at a time: a row each, with a column for
/// every reward.
pub struct Completions<'a> {
    /// None if there is no file.
    lines: Option<Lines>,
    rewards: &'a [String],
    has_ended: bool,
}

impl<'a> Completions<'a> {
    /// Those of a run.
    pub fn open(run: &'a Run) -> Result<Self, RecordError> {
        let lines = Lines::open(&run.folder.join("completions.jsonl"), Place::default())?;
        Ok(Self { lines, rewards: &run.rewards, has_ended: false })
    }

    /// A table of the next ones.
    fn read(&mut self) -> Result<Table, RecordError> {
        let mut records: Vec<CompletionRecord> = Vec::new();
        if let Some(lines) = &mut self.lines {
            while records.len() < ROWS
                && let Some(record) = lines.read()?
            {
                records.push(record);
            }
        }
        let whole = |of: fn(&CompletionRecord) -> u64| integers(records.iter().map(of));
        let texts = |of: fn(&CompletionRecord) -> String| {
            Column::Texts(records.iter().map(|record| Some(of(record))).collect())
        };
        let truth = |record: &CompletionRecord| match &record.truth {
            Value::String(text) => text.clone(),
            truth => truth.to_string(),
        };
        let mut columns = vec![
            ("step".to_owned(), whole(|record| record.step)),
            ("problem".to_owned(), whole(|record| record.problem)),
            ("sample".to_owned(), whole(|record| record.sample)),
            ("question".to_owned(), texts(|record| record.question.clone())),
            ("truth".to_owned(), texts(truth)),
            ("prompt".to_owned(), texts(|record| record.prompt.clone())),
            ("completion".to_owned(), texts(|record| record.completion.clone())),
            ("tokens".to_owned(), whole(|record| record.tokens)),
            ("finish".to_owned(), texts(|record| record.finish.clone())),
            ("reward".to_owned(), Column::Numbers(records.iter().map(|record| record.reward).collect())),
        ];
        for name in self.rewards {
            let rewards = records.iter().map(|record| record.reward_of(name));
            columns.push((format!("rewards/{name}"), Column::Numbers(rewards.collect())));
        }
        let advantages = records.iter().map(|record| record.advantage);
        columns.push(("advantage".to_owned(), Column::Numbers(advantages.collect())));
        Ok(Table { columns })
    }
}

/// Tables with the same columns, at least one.
impl Iterator for Completions<'_> {
    type Item = Result<Table, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let table = self.read();
        self.has_ended = table.as_ref().map_or(true, |table| table.rows() < ROWS);
        Some(table)
    }
}
