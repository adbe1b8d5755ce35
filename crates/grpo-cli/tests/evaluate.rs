//! `grpo evaluate`, on the embedded model.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use common::{grpo, refused, succeed, text};
use serde_json::Value;

mod common;

const LIMIT: usize = 24;

fn embedded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/embedded").join(name)
}

fn evaluate(model: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = grpo("evaluate");
    command.arg(model).arg("--out").arg(out).arg("--dataset").arg(embedded("problems"));
    command
        .args(["--device", "cpu", "--limit", &LIMIT.to_string(), "--max-completion-length", "60"])
        .args(more);
    command
}

fn read(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(file)).unwrap()).unwrap()
}

/// The results without what differs between two evaluations of the same.
fn results(folder: &Path) -> Value {
    let mut results = read(folder, "results.json");
    results.as_object_mut().unwrap().remove("seconds");
    results
}

/// The completions, in the order of problems and samples.
fn completions(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("completions.jsonl")).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| (line["problem"].as_u64(), line["sample"].as_u64()));
    lines
}

struct Done {
    _folder: tempfile::TempDir,
    path: PathBuf,
    shown: String,
}

/// An evaluation that was never interrupted.
static DONE: LazyLock<Done> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evaluation");
    let shown = succeed(&mut evaluate(&embedded("model"), &path, &[]));
    Done { _folder: folder, path, shown }
});

#[test]
fn results_are_those_of_the_completions() {
    let (results, completions) = (results(&DONE.path), completions(&DONE.path));
    assert_eq!(completions.len(), LIMIT);
    let share = |has: &dyn Fn(&Value) -> bool| {
        completions.iter().filter(|completion| has(completion)).count() as f64 / LIMIT as f64
    };
    let strict = share(&|c| c["strict"] == true);
    assert!(strict > 0.0 && strict < 1.0, "{strict}");
    assert_eq!(results["strict"]["accuracy"]["value"], strict);
    assert_eq!(results["lenient"]["accuracy"]["value"], share(&|c| c["lenient"] == true));
    assert_eq!(results["format"]["value"], share(&|c| c["format"] == true));
    assert_eq!(results["truncated"]["value"], share(&|c| c["finish"] == "length"));
    for completion in &completions {
        let text = completion["completion"].as_str().unwrap();
        let answer = text.rsplit_once("<answer>").and_then(|(_, rest)| rest.split_once("</answer>"));
        let is_right = answer.is_some_and(|(answer, _)| answer.trim() == completion["truth"]);
        assert_eq!(completion["strict"], is_right, "{completion}");
        assert!(completion["prompt"].as_str().unwrap().contains(completion["question"].as_str().unwrap()));
    }
    for expected in ["strict accuracy", "lenient accuracy", "in the format", "truncated", "24 problems"] {
        assert!(DONE.shown.contains(expected), "{expected}: {}", DONE.shown);
    }
    // A folder of an evaluation in the place of a model is shown.
    let again = succeed(grpo("evaluate").arg(&DONE.path));
    assert!(again.contains("strict accuracy"), "{again}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_continues_to_the_same_results() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evaluation");
    let one_by_one = ["--batch-rows", "1"];
    let mut child = evaluate(&embedded("model"), &out, &one_by_one)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let record = out.join("completions.jsonl");
    while !std::fs::read_to_string(&record).is_ok_and(|text| text.lines().count() >= 2) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    let done = completions(&out).len();
    assert!((2..LIMIT).contains(&done) && !out.join("results.json").exists(), "{done}");
    // A process that is killed may leave half a line.
    std::fs::OpenOptions::new().append(true).open(&record).unwrap().write_all(b"{\"problem\": 3, ").unwrap();
    refused(&mut evaluate(&embedded("model"), &out, &["--seed", "1"]), "config.seed: 0 -> 1");
    refused(grpo("evaluate").arg(&out), "has no results");
    succeed(&mut evaluate(&embedded("model"), &out, &[]));
    assert_eq!(completions(&out), completions(&DONE.path));
    assert_eq!(results(&out), results(&DONE.path));
}

#[test]
fn several_completions_per_problem_give_pass_at_k_and_a_majority() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evaluation");
    let shown = succeed(&mut evaluate(&embedded("model"), &out, &["--samples", "6"]));
    assert!(shown.contains("pass@4") && shown.contains("pass@6") && shown.contains("maj@6"), "{shown}");
    assert_eq!(completions(&out).len(), 6 * LIMIT);
    let strict = &results(&out)["strict"];
    let pass: Vec<f64> = ["1", "2", "4", "6"].map(|k| strict["pass_at"][k]["value"].as_f64().unwrap()).into();
    assert!((pass[0] - strict["accuracy"]["value"].as_f64().unwrap()).abs() < 1e-12);
    assert!(pass.windows(2).all(|pair| pair[0] < pair[1]), "{pass:?}");
    refused(&mut evaluate(&embedded("model"), &out, &["--samples", "2", "--temperature", "0"]), "greedy");
}

#[test]
fn examples_come_from_the_training_split_in_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evaluation");
    succeed(&mut evaluate(&embedded("model"), &out, &["--few-shot", "2", "--limit", "2"]));
    let completions = completions(&out);
    for completion in &completions {
        let prompt = completion["prompt"].as_str().unwrap();
        let question = completion["question"].as_str().unwrap();
        let (shots, _) = prompt.split_once(question).unwrap();
        assert_eq!(
            shots.matches("</reasoning>\n<answer>\n").count(),
            3,
            "the system prompt and two examples: {prompt}"
        );
        assert!(!shots.contains("####") && !shots.contains("<<"), "{shots}");
    }
}

#[test]
fn two_models_are_compared_problem_by_problem() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut train = grpo("train");
    train.args(common::EMBEDDED).arg("--out").arg(&run).args(["--steps", "12", "--learning-rate", "1e-3"]);
    succeed(train.args(["--problems-per-step", "4", "--max-completion-length", "60", "--no-preflight"]));
    let out = folder.path().join("trained");
    let against = DONE.path.to_str().unwrap();
    let shown = succeed(&mut evaluate(&run.join("model"), &out, &["--against", against]));
    assert!(shown.contains("McNemar p = ") && shown.contains("comparison.json"), "{shown}");
    let comparison = read(&out, "comparison.json");
    let strict = &comparison["measures"][0];
    let (trained, before) = (completions(&out), completions(&DONE.path));
    let only = |a: &[Value], b: &[Value]| -> Vec<u64> {
        let pairs = a.iter().zip(b).filter(|(a, b)| a["strict"] == true && b["strict"] == false);
        pairs.map(|(a, _)| a["problem"].as_u64().unwrap()).collect()
    };
    let problems = |list: &Value| -> Vec<u64> {
        list.as_array().unwrap().iter().map(|entry| entry["problem"].as_u64().unwrap()).collect()
    };
    assert_eq!(problems(&strict["better"]), only(&trained, &before));
    assert_eq!(problems(&strict["worse"]), only(&before, &trained));
    assert!(!trained.iter().eq(&before));
    // Evaluations of other problems are not compared.
    let other = folder.path().join("other");
    succeed(&mut evaluate(&embedded("model"), &other, &["--limit", "3"]));
    refused(grpo("evaluate").arg(&other).arg("--against").arg(against), "limit: 24 -> 3");
    // Before anything is answered.
    let new = folder.path().join("new");
    refused(
        &mut evaluate(&run.join("model"), &new, &["--limit", "3", "--against", against]),
        "limit: 24 -> 3",
    );
    assert!(!new.exists());
    // A model that has changed since is not the one whose evaluation is continued.
    let weights = run.join("model/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    refused(&mut evaluate(&run.join("model"), &out, &[]), "files.model/model.safetensors");
}

/// An example would be copied, not solved.
#[test]
fn examples_of_the_split_that_is_answered_are_left_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("split", &["--few-shot", "4", "--split", "train", "--limit", "3"][..]),
        (
            "file",
            &["--few-shot", "4", "--dataset", "examples/embedded/problems/test.parquet", "--limit", "10000"],
        ),
    ] {
        let out = folder.path().join(name);
        succeed(&mut evaluate(&embedded("model"), &out, &[more, &["--max-completion-length", "1"]].concat()));
        for completion in completions(&out) {
            let question = completion["question"].as_str().unwrap();
            let prompt = completion["prompt"].as_str().unwrap();
            assert_eq!(prompt.matches(&format!("user\n{question}<|im_end|>")).count(), 1, "{prompt}");
        }
    }
    assert_eq!(completions(&folder.path().join("split")).len(), 3);
    assert_eq!(completions(&folder.path().join("file")).len(), 384 - 4);
}

#[test]
fn bad_input_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("evaluation");
    for (more, expected) in [
        (&["--samples", "0"][..], "0 is not in 1.."),
        (&["--temperature=-1"], "temperature"),
        (&["--adapter", "/no/such/place"], "/no/such/place"),
        (&["--dataset", "/no/such/place"], "/no/such/place"),
        (&["--few-shot", "100000"], "few_shot = 100000 is more than the"),
        (&["--max-completion-length", "100000"], "context"),
        (&["--against", "/no/such/place", "--limit", "1"], "/no/such/place"),
    ] {
        refused(&mut evaluate(&embedded("model"), &out, more), expected);
    }
    refused(&mut evaluate(Path::new("/no/such/place"), &out, &[]), "/no/such/place");
    // Files that are not an evaluation's stay as they are.
    let file = folder.path().join("completions.jsonl");
    std::fs::write(&file, "mine\n").unwrap();
    refused(&mut evaluate(&embedded("model"), folder.path(), &[]), "already has a run or other files");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine\n");
    assert!(!out.exists() && !folder.path().join("lock").exists());
}

/// A single file, asked by templates: an evaluation answers what the run has held out, and the run trains on the rest.
#[test]
fn held_out_problems_of_a_run_are_those_of_an_evaluation_with_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("sums.jsonl"), folder.path().join("run.toml"));
    let rows: Vec<String> = (0..12).map(|n| serde_json::json!({ "a": n, "b": 5 }).to_string()).collect();
    std::fs::write(&data, rows.join("\n")).unwrap();
    let text = format!(
        "model = '{}'\ndataset = '{}'\neval_problems = 4\nproblems_per_step = 8\ngroup_size = 2\nmax_completion_length = 20\n\
         prompt = 'Iris has {{{{ a }}}} coins and finds {{{{ b }}}} more. How many coins does Iris have now?'\n\
         filter = 'a != 3'\ncolumns.truth.template = '{{{{ a + b }}}}'\n",
        embedded("model").display(),
        data.display()
    );
    std::fs::write(&config, text).unwrap();
    let (run, evaluation) = (folder.path().join("run"), folder.path().join("evaluation"));
    let config = ["--config", config.to_str().unwrap(), "--device", "cpu"];
    succeed(grpo("train").args(config).args(["--steps", "1", "--no-preflight", "--out"]).arg(&run));
    succeed(grpo("evaluate").arg(embedded("model")).args(config).arg("--out").arg(&evaluation));
    let asked = |lines: &[Value]| -> Vec<(String, String)> {
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let mut asked: Vec<_> =
            lines.iter().map(|line| (text(line, "question"), text(line, "truth"))).collect();
        asked.sort();
        asked.dedup();
        asked
    };
    let held_out = asked(read(&run, "before.json")[0]["completions"].as_array().unwrap());
    assert_eq!(held_out, asked(&completions(&evaluation)));
    let trained = asked(&completions(&run));
    assert_eq!((held_out.len(), trained.len()), (4, 7));
    assert!(held_out.iter().all(|problem| !trained.contains(problem)));
    assert!(trained.iter().chain(&held_out).all(|(question, truth)| {
        let a: u32 = question.split(' ').nth(2).unwrap().parse().unwrap();
        a != 3 && *truth == (a + 5).to_string()
    }));
}

#[test]
fn the_rewards_of_a_run_say_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, config) = (folder.path().join("rows.jsonl"), folder.path().join("run.toml"));
    // The numbers of the first row cannot reach its target; for the second, copying is enough.
    std::fs::write(
        &rows,
        "{\"k\": \"2 and 3\", \"n\": [2, 3], \"target\": 9}\n{\"k\": \"5\", \"n\": [5], \"target\": 5}\n",
    )
    .unwrap();
    let text = "model = 'm'\nprompt = 'A child has {{ k }} pens. How many pens are there?'\ncolumns.answer = 'target'\ncolumns.truth = 'whole'\n[[rewards]]\nkind = 'must_match'\npattern = '<answer>'\n[[rewards]]\nkind = 'countdown'\nnumbers = 'n'\nweight = ";
    let strict = |weight: f32, name: &str| {
        std::fs::write(&config, format!("{text}{weight}\n")).unwrap();
        let out = folder.path().join(format!("weight-{weight}"));
        let mut command = grpo("evaluate");
        command.arg(embedded("model")).arg("--out").arg(&out).arg("--dataset").arg(&rows);
        let shown = succeed(command.arg("--config").arg(&config).args(["--device", "cpu"]));
        assert!(shown.contains(&format!("strict accuracy ({name})")), "{shown}");
        assert!(!shown.contains("lenient"), "the target is no answer: {shown}");
        results(&out)["strict"]["accuracy"]["value"].as_f64().unwrap()
    };
    assert_eq!(strict(0.5, "must_match"), 1.0, "tags are enough");
    assert!(strict(2.0, "countdown") < 1.0, "an answer has to reach its target");
    // Rewards look at columns: other numbers are another evaluation.
    std::fs::write(
        &rows,
        "{\"k\": \"2 and 3\", \"n\": [2, 7], \"target\": 9}\n{\"k\": \"5\", \"n\": [5], \"target\": 5}\n",
    )
    .unwrap();
    let mut changed = grpo("evaluate");
    changed
        .arg(embedded("model"))
        .arg("--out")
        .arg(folder.path().join("weight-2"))
        .arg("--dataset")
        .arg(&rows);
    refused(changed.arg("--config").arg(&config).args(["--device", "cpu"]), "questions");
    std::fs::write(&rows, "{\"k\": \"2\", \"n\": \"2\", \"target\": 2}\n").unwrap();
    let mut unscorable = grpo("evaluate");
    unscorable
        .arg(embedded("model"))
        .arg("--dataset")
        .arg(&rows)
        .arg("--out")
        .arg(folder.path().join("none"));
    refused(unscorable.arg("--config").arg(&config).args(["--device", "cpu"]), "evaluation row 1");
}

#[test]
fn prompts_say_whether_the_model_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for entry in std::fs::read_dir(embedded("model")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let template =
        "{{ messages[-1].content }}{% if enable_thinking is false %}<think>\n\n</think>\n{% endif %}";
    std::fs::write(model.join("chat_template.jinja"), template).unwrap();
    let out = folder.path().join("evaluation");
    succeed(&mut evaluate(&model, &out, &["--enable-thinking", "false", "--limit", "1"]));
    assert!(completions(&out)[0]["prompt"].as_str().unwrap().ends_with("<think>\n\n</think>\n"));
    let other = folder.path().join("other");
    let against =
        ["--enable-thinking", "false", "--against", embedded("model").to_str().unwrap()].map(str::to_string);
    let against: Vec<&str> = against.iter().map(String::as_str).collect();
    refused(&mut evaluate(&model, &other, &against), "does not use `enable_thinking`");
    assert!(!other.exists(), "nothing is answered first");
}
