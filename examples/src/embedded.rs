//! The model and the problems that come with the project, so that everything can be tried without a download.

use std::path::{Path, PathBuf};

use anyhow::bail;
use grpo::{ConfigError, Error, Hub, Row, RunConfig, Settings, Split, Task, questions, resolve_dataset};
use grpo_cli::train::Fallback;

/// Steps of a run that teaches the embedded model.
pub const STEPS: u64 = 150;

/// Problems of the test with new numbers.
pub const TEST_PROBLEMS: usize = 384;

/// A folder of the embedded material.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("embedded").join(name)
}

/// What teaches the embedded model in a few minutes, by adapters or by all of its weights.
pub fn settings(adapters: bool) -> Result<Settings, ConfigError> {
    let mut settings = Settings::read(&folder("run.toml"))?;
    settings.set("model", folder("model").display().to_string())?;
    settings.set("dataset", folder("problems").display().to_string())?;
    if adapters {
        settings.set("learning_rate", 3e-3)?;
    }
    Ok(settings)
}

/// The numbers of a run that teaches the embedded model all of its weights.
pub fn config() -> Result<RunConfig, ConfigError> {
    settings(false)?.config()
}

/// The generated word problems. Two tests: one has new numbers, the other new templates, too.
pub fn task(config: &RunConfig) -> Result<Task<Row>, Error> {
    let hub = Hub::from_env().map_err(grpo_data::Error::from)?;
    let load = |name: &str, split: &Split| {
        resolve_dataset(&folder(name).display().to_string(), split, &config.task.columns, &hub)
    };
    let mut task = Task::of_examples(&load("problems", &Split::train())?, &config.task.system_prompt);
    for (name, data) in [("new numbers", "problems"), ("new templates", "held_out_templates")] {
        let mut rows = load(data, &Split::test())?;
        rows.truncate(config.task.eval_problems);
        if !rows.is_empty() {
            task = task.with_test(name, questions(&rows, &config.task.system_prompt));
        }
    }
    Ok(task)
}

/// The embedded model and problems, for a program that is given no other.
pub fn fallback(settings: &Settings) -> anyhow::Result<Fallback> {
    if settings.has("task.dataset") {
        bail!("--dataset needs --model: the embedded model has problems of its own");
    }
    Ok(Fallback {
        settings: self::settings(settings.has("lora.rank"))?,
        task: |config| Ok(task(config)?),
        subject: "No --model given: the tiny Qwen2 that comes with the project, on generated word problems",
        show_every: 10,
        next: "The same with a real model and the real GSM8K, from the Hugging Face Hub:\n  \
               cargo run --release --example gsm8k_qwen -- --model Qwen/Qwen2.5-0.5B-Instruct --dataset openai/gsm8k"
            .to_string(),
    })
}
