//! The tables of a run: its steps, and its completions.

use std::collections::BTreeMap;

use grpo_record::{Lines, Place, RecordError, Run};
use serde::Deserialize;
use serde_json::Value;

use crate::{Column, Table};

/// Completions of a table.
const ROWS: usize = 4096;

/// The steps of a run: a row each, with a column for every metric and time, and one for what was found to go wrong.
pub fn steps(run: &Run) -> Table {
    let step = run.steps.iter().map(|step| i64::try_from(*step).ok()).collect();
    let mut columns = vec![("step".to_owned(), Column::Integers(step))];
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

/// The completions of a run in the order in which they were recorded, some thousands at a time: a row each, with a column for
/// every reward.
pub struct Completions<'a> {
    /// None if there is no file.
    lines: Option<Lines>,
    rewards: &'a [String],
    has_ended: bool,
}

/// A line of `completions.jsonl`.
#[derive(Deserialize)]
struct Record {
    step: i64,
    problem: i64,
    sample: i64,
    question: String,
    truth: Value,
    prompt: String,
    completion: String,
    tokens: i64,
    finish: String,
    reward: Option<f64>,
    rewards: BTreeMap<String, Option<f64>>,
    advantage: Option<f64>,
}

impl<'a> Completions<'a> {
    /// Those of a run.
    pub fn open(run: &'a Run) -> Result<Self, RecordError> {
        let lines = Lines::open(&run.folder.join("completions.jsonl"), Place::default())?;
        Ok(Self { lines, rewards: &run.rewards, has_ended: false })
    }

    /// A table of the next ones.
    fn read(&mut self) -> Result<Table, RecordError> {
        let mut records: Vec<Record> = Vec::new();
        if let Some(lines) = &mut self.lines {
            while records.len() < ROWS
                && let Some(record) = lines.read()?
            {
                records.push(record);
            }
        }
        let integers = |of: fn(&Record) -> i64| {
            Column::Integers(records.iter().map(|record| Some(of(record))).collect())
        };
        let texts = |of: fn(&Record) -> String| {
            Column::Texts(records.iter().map(|record| Some(of(record))).collect())
        };
        let truth = |record: &Record| match &record.truth {
            Value::String(text) => text.clone(),
            truth => truth.to_string(),
        };
        let mut columns = vec![
            ("step".to_owned(), integers(|record| record.step)),
            ("problem".to_owned(), integers(|record| record.problem)),
            ("sample".to_owned(), integers(|record| record.sample)),
            ("question".to_owned(), texts(|record| record.question.clone())),
            ("truth".to_owned(), texts(truth)),
            ("prompt".to_owned(), texts(|record| record.prompt.clone())),
            ("completion".to_owned(), texts(|record| record.completion.clone())),
            ("tokens".to_owned(), integers(|record| record.tokens)),
            ("finish".to_owned(), texts(|record| record.finish.clone())),
            ("reward".to_owned(), Column::Numbers(records.iter().map(|record| record.reward).collect())),
        ];
        for name in self.rewards {
            let rewards = records.iter().map(|record| record.rewards.get(name).copied().flatten());
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
