//! The model and the problems that come with the project, so that everything can be tried without a download.

use std::path::{Path, PathBuf};

use grpo_data::{LoadError, Split, load};
use grpo_trainer::TrainerConfig;

use crate::task::{Task, Test};

/// Problems that an update learns from.
pub const PROBLEMS_PER_STEP: usize = 16;

/// Steps of a run that teaches the embedded model.
pub const STEPS: u64 = 150;

/// Problems of the test with new numbers.
pub const TEST_PROBLEMS: usize = 384;

/// A folder of the embedded material.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded").join(name)
}

/// The tiny model and the generated word problems.
pub fn task() -> Result<Task, LoadError> {
    let test =
        |name: &str, data: &str| Ok(Test { name: name.to_string(), rows: load(folder(data), Split::Test)? });
    Ok(Task {
        model: folder("model"),
        train: load(folder("problems"), Split::Train)?,
        tests: vec![test("new numbers", "problems")?, test("new templates", "held_out_templates")?],
    })
}

/// The numbers of a run that teaches the embedded model in a few minutes.
pub fn config() -> TrainerConfig {
    TrainerConfig {
        max_completion_length: 80,
        learning_rate: 3e-4,
        batch_rows: 128,
        ..TrainerConfig::default()
    }
}
