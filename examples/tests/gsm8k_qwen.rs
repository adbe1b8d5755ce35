//! Runs the example as a user does, on a tiny checkpoint whose tokens are single characters.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use burn::tensor::Device;
use grpo_examples::embedded;
use grpo_qwen2::Qwen2;
use grpo_rollout::PromptCompletions;
use serde_json::{Value, json};

use common::text;

mod common;

fn example() -> Command {
    common::example("gsm8k_qwen")
}

/// A folder with a model and a dataset of four problems.
fn material() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/grpo-qwen2/tests/fixtures/tiny-qwen2-tied");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture.join(name), folder.path().join(name)).unwrap();
    }
    let vocab: serde_json::Map<String, Value> =
        (0..512u32).map(|id| (char::from_u32(0x4E00 + id).unwrap().to_string(), id.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "truncation": null, "padding": null, "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "\u{4E00}" },
    });
    let template = json!({ "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}" });
    let row =
        |n: u32| json!({ "question": format!("What is {n} + {n}?"), "answer": format!("#### {}", 2 * n) });
    let rows: String = (1..5).map(|n| row(n).to_string() + "\n").collect();
    for (name, text) in [
        ("tokenizer.json", tokenizer.to_string()),
        ("tokenizer_config.json", template.to_string()),
        ("train.jsonl", rows.clone()),
        ("test.jsonl", rows),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// The example with model, data and the folder of the run.
fn command(material: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = example();
    command.arg("--model").arg(material).arg("--dataset").arg(material).arg("--out").arg(out);
    command.args(["--device", "cpu", "--group-size", "4", "--max-completion-tokens", "8"]).args(more);
    command
}

fn lines(path: PathBuf) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn adapters_of_another_recipe_train_and_are_saved_with_the_model() {
    let (material, out) = (material(), tempfile::tempdir().unwrap());
    let more = ["--steps", "2", "--lora", "4", "--lora-targets", "q_proj,down_proj", "--recipe", "dapo"];
    let output = command(material.path(), out.path(), &more).output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    for expected in ["Memory: about ", "Disk: about ", "Adapters, in PEFT format", "--config '"] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
    let config = std::fs::read(out.path().join("adapter/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["target_modules"], json!(["down_proj", "q_proj"]));
    assert_eq!(config["base_model_name_or_path"], json!(material.path()));
    let load = |folder: &Path| Qwen2::load(folder, &Device::flex()).unwrap();
    let merged = load(&out.path().join("model"));
    let adapted = load(material.path()).load_adapter(&out.path().join("adapter")).unwrap();
    let logprobs = |model: &Qwen2| {
        model
            .logprobs(&[PromptCompletions { prompt: &[3], completions: vec![&[40, 50, 60]] }], 1.0)
            .remove(0)
            .logprobs
    };
    for (merged, adapted) in logprobs(&merged).into_iter().zip(logprobs(&adapted)) {
        assert!((merged - adapted).abs() < 1e-4, "{merged} {adapted}");
    }
    let metrics = lines(out.path().join("metrics.jsonl"));
    assert!(metrics[0]["rewards/overlong/mean"].is_number() && metrics[0]["redrawn_groups"].is_number());
    assert_eq!(metrics[0]["learning_rate"], json!(1e-5), "ten times the default");

    // Nothing of this model's earns anything, so adapters that a run goes on from stay as they are.
    let further = tempfile::tempdir().unwrap();
    let more = ["--steps", "1", "--seed", "1", "--lora", "4", "--beta", "0", "--adapter"];
    let mut command = command(material.path(), further.path(), &more);
    let output = command.arg(out.path().join("adapter")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let weights = |out: &Path| std::fs::read(out.join("adapter/adapter_model.safetensors")).unwrap();
    assert!(weights(further.path()) == weights(out.path()), "they are those of the first run");
}

#[test]
fn rewards_that_do_not_pay_for_the_right_answer_are_not_trained_on() {
    let (material, out) = (material(), tempfile::tempdir().unwrap());
    let row = json!({ "question": "What is it?", "answer": "#### 4</answer>5" });
    std::fs::write(material.path().join("train.jsonl"), row.to_string()).unwrap();
    let output = command(material.path(), out.path(), &["--steps", "1"]).output().unwrap();
    let shown = text(&output);
    assert!(!output.status.success(), "{shown}");
    for expected in ["fatal: gold", "4</answer>5", "correctness 0"] {
        assert!(shown.contains(expected), "{expected} is not in:\n{shown}");
    }
    assert!(!out.path().join("metrics.jsonl").exists());
}

#[test]
fn a_run_trains_records_and_saves() {
    let (material, out) = (material(), tempfile::tempdir().unwrap());
    let more = ["--steps", "3", "--problems-per-step", "2", "--eval-problems", "4", "--save-every", "2"];
    let output = command(material.path(), out.path(), &more).output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    for expected in [
        "Before training, test problems: correctness",
        "Step 1/3 | Loss: ",
        "Step 3/3 | ",
        "Mean Reward: ",
        "Question: What is ",
        "Gold answer: ",
        "Sample response: ",
        "Sample rewards: [",
        "Model, in Hugging Face layout: ",
        "To continue from the saved model",
        "test problems, correctness",
        "Mean reward by step",
    ] {
        assert!(shown.contains(expected), "no `{expected}` in:\n{shown}");
    }
    assert_eq!(lines(out.path().join("metrics.jsonl")).len(), 3);
    assert_eq!(lines(out.path().join("completions.jsonl")).len(), 3 * 2 * 4);
    Qwen2::load(&out.path().join("model"), &Device::flex()).unwrap();

    // What was saved is a model to go on from.
    let further = tempfile::tempdir().unwrap();
    let mut again = example();
    again.arg("--model").arg(out.path().join("model")).arg("--dataset").arg(material.path());
    again.arg("--out").arg(further.path()).args(["--steps", "1", "--max-completion-tokens", "8"]);
    let output = again.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    // The reference is the policy it starts from, to the bit.
    assert_eq!(lines(further.path().join("metrics.jsonl"))[0]["kl"], json!(0.0));
}

#[cfg(unix)]
#[test]
fn an_interrupt_finishes_the_step_and_saves() {
    let (material, out) = (material(), tempfile::tempdir().unwrap());
    let mut run = command(material.path(), out.path(), &["--steps", "1000000"]);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = out.path().join("metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before its first step");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let shown = text(&output);
    assert!(output.status.success() && shown.contains("Interrupted after step"), "{shown}");
    Qwen2::load(&out.path().join("model"), &Device::flex()).unwrap();
}

#[test]
fn bad_arguments_are_explained() {
    let (material, out) = (material(), tempfile::tempdir().unwrap());
    for (more, expected) in [
        (["--group-size", "1"], "group_size"),
        (["--temperature", "0"], "temperature"),
        (["--device", "abacus"], "abacus"),
        (["--dataset", "/no/such/place"], "/no/such/place"),
        (["--model", "/no/such/place"], "/no/such/place"),
        (
            ["--max-completion-tokens", "9999"],
            "max_completion_length is 9999: the model's context is 256 tokens",
        ),
    ] {
        let out = tempfile::tempdir().unwrap();
        let output = command(material.path(), out.path(), &more).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(expected), "{more:?}: {}", text(&output));
        assert!(!out.path().join("model").exists(), "nothing was trained, so nothing is saved");
    }
    std::fs::create_dir(out.path().join("model")).unwrap();
    let output = command(material.path(), out.path(), &[]).output().unwrap();
    assert!(text(&output).contains("already has a run"), "{}", text(&output));
    let file = material.path().join("train.jsonl");
    let fresh = tempfile::tempdir().unwrap();
    let more = ["--dataset", file.to_str().unwrap(), "--eval-problems", "4"];
    let output = command(material.path(), fresh.path(), &more).output().unwrap();
    assert!(text(&output).contains("hold out fewer"), "{}", text(&output));
}

#[test]
fn without_a_model_the_embedded_one_is_trained_on_the_embedded_problems() {
    let out = tempfile::tempdir().unwrap();
    let mut run = example();
    run.arg("--out").arg(out.path()).args(["--device", "cpu", "--steps", "2", "--eval-problems", "6"]);
    let output = run.output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    for expected in [
        "No --model given: the tiny Qwen2 that comes with the project, on generated word problems (1920 problems, 12 held out)",
        "Before training, new numbers: correctness",
        "Step 1/2 | ",
        "new numbers, format",
        "new templates, correctness",
        "Mean reward by step",
        "Question: ",
        "before",
        "Model, in Hugging Face layout: ",
        "--model Qwen/Qwen2.5-0.5B-Instruct --dataset openai/gsm8k",
    ] {
        assert!(shown.contains(expected), "no `{expected}` in:\n{shown}");
    }
    let completions = lines(out.path().join("completions.jsonl"));
    assert_eq!(completions.len(), 2 * 16 * 8);
    assert!(completions.iter().any(|c| c["rewards"]["correctness"] == json!(2.0)), "it solves some already");
    let evaluation: Value =
        serde_json::from_slice(&std::fs::read(out.path().join("evaluation.json")).unwrap()).unwrap();
    assert_eq!(evaluation[1]["after"]["rewarded"][0]["share"]["trials"], json!(6));
    let answer = &evaluation[1]["after"]["completions"][5];
    for field in ["question", "truth", "prompt", "completion", "finish"] {
        assert!(answer[field].is_string() && completions[0][field].is_string(), "{field}: {answer}");
    }
    Qwen2::load(&out.path().join("model"), &Device::flex()).unwrap();

    // Without tests there is nothing to compare.
    let untested = tempfile::tempdir().unwrap();
    let folder = untested.path().to_str().unwrap();
    let shown = common::succeed(common::example("gsm8k_qwen").args([
        "--out",
        folder,
        "--device",
        "cpu",
        "--steps",
        "1",
        "--eval-problems",
        "0",
    ]));
    assert!(shown.contains("Mean reward by step") && !shown.contains("before"), "{shown}");
}

#[test]
fn a_run_is_resumed_with_the_options_that_it_began_with() {
    let (material, out) = (material(), tempfile::tempdir().unwrap());
    let run = out.path().join("run");
    common::succeed(&mut command(material.path(), &run, &["--steps", "1"]));
    let resume = |more: &[&str]| {
        let mut command = example();
        command.arg("--resume").arg(&run).args(more);
        command
    };
    for (more, expected) in [
        (&["--beta", "0.5"][..], "algorithm.recipe.objective.beta: 0.04 -> 0.5"),
        (
            &["--problems-per-step", "3", "--seed", "1"],
            "algorithm.seed: 0 -> 1; task.problems_per_step: 1 -> 3",
        ),
        (&["--model", "other"], r#" -> "other""#),
        (&["--out", "elsewhere"], "--out cannot be combined with --resume"),
    ] {
        let output = resume(more).output().unwrap();
        assert!(!output.status.success() && text(&output).contains(expected), "{more:?}: {}", text(&output));
    }
    let shown = common::succeed(&mut resume(&["--steps", "2", "--group-size", "4"]));
    assert!(shown.contains("Resuming after step 1 of 2"), "{shown}");
}

#[test]
fn strawberry_asks_the_same_question_twice() {
    let question = "Leo has 6 boxes of 8 plums and gives 30 to Ana. How many plums does Leo have left?";
    let embedded = embedded::folder("model");
    let model = embedded.to_str().unwrap();
    for more in [&["--steps", "1"][..], &["--model", model, "--trained", model]] {
        let shown = common::succeed(
            common::example("strawberry").args([&[question, "--device", "cpu"], more].concat()),
        );
        assert!(shown.contains(question) && shown.contains("before") && shown.contains("6 * 8"), "{shown}");
    }
}
