use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use grpo_core::Completion;
use grpo_examples::args::Args;
use grpo_examples::run_folder::RunFolder;
use grpo_reward::Rubric;
use grpo_trainer::{Checkpoint, Checkpoints, Problem, Qwen2Policy, Trainer, TrainerConfig};

use crate::Target;
use crate::chat::chat;
use crate::model::saved_model;

const STEP: &str = "checkpoints/step-00000001";

/// A checkpoint that a run is taken up from, and the description of a run.
pub fn checkpoint() -> Target {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let start = folder.path().join("start");
    write_start(&start);
    let mut trainer = trainer(&start).expect("the model is right");
    trainer.step(&problems()).expect("the problems are right");
    let path = trainer.save_checkpoint(&checkpoints(folder.path()), None).expect("there is room");
    let mut files = Vec::new();
    for name in [
        "manifest.json",
        "state.json",
        "optimizer.safetensors",
        "model/config.json",
        "model/model.safetensors",
    ] {
        files.push((format!("{STEP}/{name}"), std::fs::read(path.join(name)).expect("it has been written")));
    }
    let run = serde_json::json!({
        "format": 1, "options": ["--steps", "3", "--lora", "2", "--objective", "dapo"], "settings": { "seed": 0 },
        "tests": ["new"], "start": {},
    });
    files.push(("run.json".to_string(), run.to_string().into_bytes()));
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        files.push((format!("start/{name}"), std::fs::read(start.join(name)).expect("it has been written")));
    }
    Target { name: "checkpoint", files, read }
}

/// The folder of a model that can be trained.
fn write_start(start: &Path) {
    std::fs::create_dir_all(start).expect("there is room for a folder");
    let copy = |name: &str, content: &[u8]| {
        std::fs::write(start.join(name), content).expect("there is room for a file");
    };
    for (name, content) in &chat().files {
        copy(name, content);
    }
    let weights = std::fs::read(saved_model().path().join("model.safetensors"));
    copy("model.safetensors", &weights.expect("it has been saved"));
}

fn config() -> TrainerConfig {
    TrainerConfig { group_size: 2, max_completion_length: 2, ..TrainerConfig::default() }
}

fn trainer(start: &Path) -> Option<Trainer<Qwen2Policy, u32>> {
    let policy = Qwen2Policy::load(start, &Device::flex(), &config()).ok()?;
    let length = |_: &u32, completion: &Completion| completion.text.len() as f32;
    Trainer::new(policy, Rubric::new().with("length", 1.0, length), config()).ok()
}

fn problems() -> Vec<Problem<u32>> {
    vec![Problem { id: 0, prompt: vec![0, 3], truth: 0 }]
}

fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints::new(folder.join("checkpoints"), NonZeroUsize::MIN)
}

fn read(folder: &Path) {
    let whole = checkpoints(folder).latest(u64::MAX);
    let path: PathBuf = folder.join(STEP);
    // One that its manifest does not vouch for, too.
    for checkpoint in [whole.ok().and_then(|latest| latest.checkpoint), Some(Checkpoint { path, step: 1 })] {
        let (Some(checkpoint), Some(trainer)) = (checkpoint, trainer(&folder.join("start"))) else {
            continue;
        };
        if let Ok((mut trainer, _)) = trainer.resume(&checkpoint) {
            let _ = trainer.step(&problems());
        }
    }
    if let Ok(run) = RunFolder::open(folder) {
        let _ = run.task();
        if let Ok(args) = Args::of_run(&run, &[]) {
            let _ = run.check(&args.settings());
            let _ = args.config().validate();
        }
    }
}
