//! What a run trains on, and what it is measured on.

use std::path::{Path, PathBuf};

use anyhow::bail;
use grpo_data::{Example, Hub, Split, resolve_dataset, resolve_model};

/// A model and problems for it.
pub struct Task {
    /// The model's folder.
    pub model: PathBuf,
    /// The problems to learn from.
    pub train: Vec<Example>,
    /// The problems to be measured on.
    pub tests: Vec<Test>,
}

/// Problems that are never learned from.
pub struct Test {
    /// What they are called in a report.
    pub name: String,
    /// The problems.
    pub rows: Vec<Example>,
}

impl Task {
    /// The model and the dataset of the given paths or ids on the Hub; the first `n` of its test problems.
    pub fn resolve(model: &str, dataset: &str, n: usize, hub: &Hub) -> anyhow::Result<Self> {
        let model = resolve_model(model, hub)?;
        let train = resolve_dataset(dataset, Split::Train, hub)?;
        Ok(Self { model, train, tests: tests(dataset, n, hub)? })
    }
}

fn tests(dataset: &str, n: usize, hub: &Hub) -> anyhow::Result<Vec<Test>> {
    if n == 0 {
        return Ok(Vec::new());
    }
    if Path::new(dataset).is_file() {
        bail!(
            "{dataset} is one file, so its test problems would be those trained on: give --dataset a folder"
        );
    }
    let mut rows = resolve_dataset(dataset, Split::Test, hub)?;
    rows.truncate(n);
    Ok(vec![Test { name: "test problems".to_string(), rows }])
}
