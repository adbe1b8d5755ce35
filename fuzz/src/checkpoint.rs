use std::num::NonZeroUsize;
use std::path::Path;

use burn::tensor::Device;
use grpo::{RunConfig, RunFolder};
use grpo_core::Completion;
use grpo_files::sha256;
use grpo_qwen2::LoraConfig;
use grpo_reward::Rubric;
use grpo_trainer::{
    Checkpoint, Checkpoints, Problem, Qwen2Policy, Qwen2PolicyConfig, ReferenceSync, Trainer, TrainerConfig,
};

use crate::Target;
use crate::chat::chat;
use crate::model::saved_model;

/// Where a checkpoint is in the folder of its run.
const STEP: &str = "checkpoints/step-00000001";
const START: &str = "start";
const RUN: &str = "run.json";

/// Checkpoints that a run is resumed from, and the description of a run.
pub fn checkpoint() -> Target {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    write_start(&folder.path().join(START));
    let mut names = files_of(folder.path(), START);
    let sum = |name: &String| {
        let (_, sum) = sha256(&folder.path().join(name)).expect("it has been written");
        (name.trim_start_matches("start/").to_string(), sum.into())
    };
    let start: serde_json::Map<String, serde_json::Value> = names.iter().map(sum).collect();
    let config = RunConfig::from_toml("model = 'model'\nsteps = 3\nlora.rank = 2\nrecipe = 'dapo'")
        .expect("the keys are right");
    let run = serde_json::json!({
        "format": 7, "began": "2026-02-03T04:05:06", "config": config, "rewards": {}, "tests": ["new"], "skipped": [],
        "start": start, "processes": [],
    });
    std::fs::write(folder.path().join(RUN), run.to_string()).expect("there is room for a file");
    names.push(RUN.to_string());
    for (run, config, policy) in runs() {
        let mut trainer = trainer(folder.path(), config, &policy).expect("the model is right");
        trainer.step(&problems()).expect("the problems are right");
        trainer.save_checkpoint(&checkpoints(&folder.path().join(run)), None).expect("there is room");
        names.extend(files_of(folder.path(), &format!("{run}/{STEP}")));
    }
    let file = |name: String| {
        let content = std::fs::read(folder.path().join(&name)).expect("it has been written");
        (name, content)
    };
    Target { name: "checkpoint", files: names.into_iter().map(file).collect(), read }
}

/// The files in a folder of `root`, and in the folders in it.
fn files_of(root: &Path, folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).expect("it has been written") {
        let entry = entry.expect("it has been written");
        let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() { files.extend(files_of(root, &name)) } else { files.push(name) }
    }
    files.sort();
    files
}

/// A run of all weights with a reference that moves, and one of adapters.
fn runs() -> [(&'static str, TrainerConfig, Qwen2PolicyConfig); 2] {
    let config = TrainerConfig { group_size: 2, max_completion_length: 2, ..TrainerConfig::default() };
    let policy = Qwen2PolicyConfig::default();
    let moving = ReferenceSync { steps: 1, mixup_alpha: 0.5 };
    let lora = LoraConfig { rank: 2, ..LoraConfig::default() };
    [
        ("full", TrainerConfig { reference_sync: Some(moving), ..config.clone() }, policy.clone()),
        ("adapters", config, Qwen2PolicyConfig { lora: Some(lora), ..policy }),
    ]
}

/// The folder of a model that can be trained.
fn write_start(start: &Path) {
    std::fs::create_dir_all(start).expect("there is room for a folder");
    let write = |name: &str, content: &[u8]| {
        std::fs::write(start.join(name), content).expect("there is room for a file");
    };
    for (name, content) in &chat().files {
        write(name, content);
    }
    let weights = std::fs::read(saved_model().path().join("model.safetensors"));
    write("model.safetensors", &weights.expect("it has been saved"));
    let question =
        serde_json::json!({ "messages": [{ "role": "user", "content": "What is 2 + 2?" }], "truth": "4" });
    for name in ["problems.jsonl", "test-0.jsonl"] {
        write(name, question.to_string().as_bytes());
    }
}

fn trainer(
    folder: &Path,
    config: TrainerConfig,
    policy: &Qwen2PolicyConfig,
) -> Option<Trainer<Qwen2Policy, u32>> {
    let policy = Qwen2Policy::load(&folder.join(START), &Device::flex(), policy).ok()?;
    let length = |_: &u32, completion: &Completion| completion.text.len() as f32;
    Trainer::new(policy, Rubric::new().with("length", 1.0, length), config).ok()
}

fn problems() -> Vec<Problem<u32>> {
    vec![Problem { id: 0, prompt: vec![0, 3], messages: vec![], truth: 0 }]
}

fn checkpoints(run: &Path) -> Checkpoints {
    Checkpoints::new(run.join("checkpoints"), NonZeroUsize::MIN)
}

fn read(folder: &Path, replaced: &str) -> bool {
    let mut refused = false;
    for (run, config, policy) in runs().into_iter().filter(|(run, ..)| replaced.starts_with(run)) {
        let run = folder.join(run);
        let whole = checkpoints(&run).latest(u64::MAX).ok().and_then(|latest| latest.checkpoint);
        refused |= whole.is_none();
        // One that its manifest does not vouch for, too.
        for checkpoint in whole.into_iter().chain([Checkpoint { path: run.join(STEP), step: 1 }]) {
            refused |=
                trainer(folder, config.clone(), &policy).is_none_or(|trainer| !goes_on(trainer, &checkpoint));
        }
    }
    !refused && (replaced != RUN || is_run(folder))
}

fn goes_on(trainer: Trainer<Qwen2Policy, u32>, checkpoint: &Checkpoint) -> bool {
    trainer.resume(checkpoint).is_ok_and(|(mut trainer, _)| trainer.step(&problems()).is_ok())
}

fn is_run(folder: &Path) -> bool {
    let Ok(run) = RunFolder::open(folder) else { return false };
    let config = run.config();
    config.validate().is_ok()
        && run.task::<String>().is_ok()
        && Qwen2Policy::load(&folder.join(START), &Device::flex(), &config.policy).is_ok_and(|policy| {
            let length = |_: &String, completion: &Completion| completion.text.len() as f32;
            Trainer::new(policy, Rubric::new().with("length", 1.0, length), config.algorithm.clone()).is_ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or the fuzzer would never get behind the first check.
    #[test]
    fn right_files_are_resumed_from() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in checkpoint().files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        for (run, config, policy) in runs() {
            let whole = checkpoints(&folder.path().join(run)).latest(u64::MAX).unwrap().checkpoint.unwrap();
            assert_eq!(trainer(folder.path(), config, &policy).unwrap().resume(&whole).unwrap().0.steps(), 1);
        }
        let run = RunFolder::open(folder.path()).unwrap();
        assert_eq!(run.task::<String>().unwrap().tests.len(), 1);
        assert!(is_run(folder.path()));
    }
}
