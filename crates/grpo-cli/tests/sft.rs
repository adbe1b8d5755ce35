//! `grpo sft`, on the embedded model.

use std::path::Path;
use std::process::{Command, Stdio};

use common::{grpo, refused, succeed, text};
use serde_json::Value;

mod common;

const MODEL: &str = "examples/embedded/model";

/// Completions of training problems.
fn evaluate(out: &Path, more: &[&str]) -> Command {
    let mut command = grpo("evaluate");
    command.arg(MODEL).arg("--out").arg(out).args(["--dataset", "examples/embedded/problems"]);
    command
        .args(["--device", "cpu", "--max-completion-length", "60", "--split", "train", "--limit", "60"])
        .args(more);
    command
}

fn sft(evaluation: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = grpo("sft");
    command.arg(evaluation).arg("--out").arg(out).args(["--device", "cpu"]).args(more);
    command
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// By all weights, by adapters, and by the same adapters further.
#[test]
fn what_was_accepted_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let [first, full, lora, second, further] =
        ["first", "full", "lora", "second", "further"].map(|name| folder.path().join(name));
    succeed(&mut evaluate(&first, &[]));
    let completions = lines(&first.join("completions.jsonl"));
    let is_accepted = |c: &&Value| c["strict"] == true && c["format"] == true && c["finish"] == "stop";
    let accepted = completions.iter().filter(is_accepted).count();
    assert!(accepted > 5 && accepted < 60, "{accepted}");

    for (more, out, saved) in [
        (&["--learning-rate", "3e-4"][..], &full, "model"),
        (&["--lora", "8", "--learning-rate", "3e-3"], &lora, "adapter"),
    ] {
        let shown = succeed(&mut sft(&first, out, more));
        assert!(shown.starts_with(&format!("{accepted} of 60 completions are right")), "{shown}");
        let updates = lines(&out.join("metrics.jsonl"));
        assert_eq!(updates.len(), (3 * accepted).div_ceil(8));
        let loss = |update: Option<&Value>| update.unwrap()["loss"].as_f64().unwrap();
        assert!(loss(updates.last()) < 0.8 * loss(updates.first()), "{updates:?}");
        let description = json(&out.join("sft.json"));
        assert_eq!((&description["accepted"], &description["completions"]), (&accepted.into(), &60.into()));
        assert!(
            out.join(saved).is_dir() && shown.contains(&out.join(saved).display().to_string()),
            "{shown}"
        );
        refused(&mut sft(&first, out, more), "already has a run or other files");
    }

    let adapter = lora.join("adapter").display().to_string();
    succeed(&mut evaluate(&second, &["--adapter", &adapter]));
    refused(&mut sft(&second, &further, &["--lora", "8"]), "the evaluation has an adapter");
    succeed(&mut sft(&second, &further, &["--epochs", "1"]));
    assert_eq!(json(&further.join("sft.json"))["sft"]["learning_rate"], 1e-4, "the rate of adapters");
    let config = |folder: &Path| json(&folder.join("adapter/adapter_config.json"));
    assert_eq!(config(&further)["r"], config(&lora)["r"]);
    let weights = |folder: &Path| std::fs::read(folder.join("adapter/adapter_model.safetensors")).unwrap();
    assert_ne!(weights(&further), weights(&lora));

    let mut train = grpo("train");
    train.args(["--model", MODEL, "--dataset", "examples/embedded/problems", "--adapter", &adapter]);
    succeed(train.args(["--steps", "1", "--device", "cpu", "--out"]).arg(folder.path().join("run")));
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_learned() {
    let folder = tempfile::tempdir().unwrap();
    let [evaluation, out] = ["evaluation", "out"].map(|name| folder.path().join(name));
    succeed(&mut evaluate(&evaluation, &["--limit", "20"]));
    let mut long = sft(&evaluation, &out, &["--epochs", "65536"]);
    let mut child = long.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count()) < 2 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let shown = text(&output);
    let updates = lines(&out.join("metrics.jsonl")).len();
    assert!(
        output.status.success() && shown.contains(&format!("Interrupted after update {updates}.")),
        "{shown}"
    );
    assert!(out.join("model/model.safetensors").is_file());
}

#[test]
fn bad_input_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let [wrong, out] = ["wrong", "out"].map(|name| folder.path().join(name));
    refused(&mut sft(&folder.path().join("nothing"), &out, &[]), "no evaluation was started here");
    // Cut off at once: nothing is accepted.
    succeed(&mut evaluate(&wrong, &["--max-completion-length", "2"]));
    refused(&mut sft(&wrong, &out, &[]), "none of the 60 completions of the evaluation");
    refused(&mut sft(&wrong, &out, &["--learning-rate=-1"]), "learning_rate");
    refused(&mut sft(&wrong, &out, &["--epochs", "0"]), "0 is not in 1..");
    assert!(!out.exists());
    // A rate at which the weights overflow.
    let fine = folder.path().join("fine");
    succeed(&mut evaluate(&fine, &[]));
    refused(
        &mut sft(&fine, &out, &["--learning-rate", "1e30"]),
        "not finite: start again with a lower learning rate",
    );
    let out = folder.path().join("again");
    // Another model than the one that was evaluated.
    let description = std::fs::read_to_string(fine.join("description.json")).unwrap();
    let sum = json(&fine.join("description.json"))["files"]["model/model.safetensors"]
        .as_str()
        .unwrap()
        .to_string();
    std::fs::write(fine.join("description.json"), description.replace(&sum, "0")).unwrap();
    refused(&mut sft(&fine, &out, &[]), "is not what was evaluated (model/model.safetensors: \"0\" -> ");
    let other = description.replace("\"format\": 1", "\"format\": 7");
    std::fs::write(fine.join("description.json"), other).unwrap();
    refused(&mut sft(&fine, &out, &[]), "has format 7");
}
