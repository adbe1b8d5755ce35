//! Pages of run folders.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grpo_page::write_page;
use grpo_record::{RecordError, Run};
use serde_json::{Value, json};

use crate::common::{run_folder, unpack};

/// Texts that a completion may have, and that must not do anything in a page.
const HOSTILE: [&str; 6] = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\u{1b}[31mred\u{1b}[0m",
    "\u{202e}backwards\u{2066}",
    "a\0b",
    "<!--<script>",
];

fn page_of(folder: &Path) -> String {
    let path = folder.join("report.html");
    let size = write_page(&[Run::read(folder).unwrap()], &path).unwrap();
    let page = fs::read_to_string(path).unwrap();
    assert_eq!(size.bytes, page.len() as u64);
    page
}

/// What the page's script finds by an id.
fn block(page: &str, id: &str) -> Value {
    let start = format!("<script type=\"text/plain\" id=\"{id}\">");
    let (_, rest) = page.split_once(&start).unwrap_or_else(|| panic!("there is no {id}"));
    let bytes = STANDARD.decode(rest.split_once("</script>").unwrap().0).unwrap();
    unpack(&bytes)
}

#[test]
fn a_page_has_the_whole_record() {
    let folder = run_folder(3, |i| format!("wrong {i}"));
    let page = page_of(folder.path());
    let runs = block(&page, "data-runs");
    assert_eq!(runs[0]["steps"], json!([1, 2, 3]));
    assert_eq!(runs[0]["columns"], json!({ "reward": [0.5, 0.5, 0.5], "step_time": [2.5, 2.5, 2.5] }));
    assert_eq!(runs[0]["options"]["algorithm.sampling.temperature"], 1.0);
    assert_eq!(runs[0]["diagnoses"][2], json!([3, "low"]));
    let index = block(&page, "data-0-index");
    assert_eq!(index["step"], json!([1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]));
    assert_eq!(index["truncated"].as_array().unwrap()[..3], [json!(0), json!(1), json!(1)]);
    let step = block(&page, "data-0-step-2");
    assert_eq!(step["groups"][1]["problem"], 11);
    let completion = &step["groups"][1]["completions"][0];
    assert_eq!(completion["text"], "so <answer>7</answer>");
    assert_eq!(completion["rewards"], json!([2.0, 0.5]));
    assert_eq!(completion["sampled"]["logprobs"], json!([64, 128, 0, 64, 192]));
    let held_out = block(&page, "data-0-held-out");
    let answered = &held_out[0]["problems"][0];
    assert_eq!((&held_out[0]["test"], &answered["question"]), (&json!("sums"), &json!("1 + 6?")));
    assert_eq!([&answered["before"]["text"], &answered["after"]["text"]], ["6", "7"]);
    assert_eq!(runs[0]["evaluations"][0]["successes"], 1);
    assert_eq!([&completion["lenient"], &step["groups"][1]["completions"][2]["lenient"]], [true, false]);
}

#[test]
fn hostile_texts_are_data() {
    for text in HOSTILE {
        let folder = run_folder(1, |_| text.into());
        let page = page_of(folder.path());
        assert!(!page.contains(text), "{text:?} is in the page as it is");
        assert_eq!(block(&page, "data-0-step-1")["groups"][0]["completions"][1]["text"], text);
    }
    let page = page_of(run_folder(1, |_| String::new()).path());
    // Its own scripts and styles are all that it may use.
    let policy =
        page.split_once("Content-Security-Policy\" content=\"").unwrap().1.split_once('"').unwrap().0;
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"));
}

#[test]
fn a_run_in_progress_has_a_page_of_what_is_there() {
    let folder = run_folder(2, |_| "wrong".into());
    for name in ["metrics.jsonl", "completions.jsonl", "times.jsonl"] {
        let path = folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 9]).unwrap();
    }
    let page = page_of(folder.path());
    assert_eq!(block(&page, "data-runs")[0]["steps"], json!([1]));
    assert_eq!(block(&page, "data-0-index")["step"].as_array().unwrap().len(), 11);
    // At the start there is nothing but the description.
    for name in ["metrics.jsonl", "completions.jsonl", "times.jsonl"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    assert_eq!(block(&page_of(folder.path()), "data-runs")[0]["steps"], json!([]));
}

#[test]
fn what_a_record_says_twice_counts_once_and_rewards_keep_their_order() {
    let folder = run_folder(2, |_| "wrong".into());
    let path = folder.path().join("metrics.jsonl");
    fs::write(&path, fs::read_to_string(&path).unwrap() + "{\"step\":2,\"reward\":0.75}\n").unwrap();
    let path = folder.path().join("run.json");
    let mut run: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    run["config"]["task"]["rewards"] = json!([{ "name": "format" }, { "name": "correctness" }]);
    fs::write(&path, run.to_string()).unwrap();
    let run = Run::read(folder.path()).unwrap();
    assert_eq!((run.steps, &run.columns["reward"]), (vec![1, 2], &vec![Some(0.5), Some(0.75)]));
    assert_eq!(run.rewards, ["format", "correctness"]);
}

#[test]
fn a_page_is_smaller_than_its_record() {
    let folder = run_folder(200, |i| format!("{} is wrong", i * 7919));
    let bytes = page_of(folder.path()).len() as u64;
    let record = fs::metadata(folder.path().join("completions.jsonl")).unwrap().len();
    let own = page_of(run_folder(0, |_| String::new()).path()).len() as u64;
    assert!(
        bytes - own < record / 2,
        "{bytes} bytes for a record of {record}, {own} of them the page itself"
    );
}

#[test]
fn what_is_wrong_with_a_folder_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let error = Run::read(folder.path()).unwrap_err();
    assert!(matches!(error, RecordError::NoRun { .. }), "{error}");
    let folder = run_folder(2, |_| "wrong".into());
    fs::write(folder.path().join("metrics.jsonl"), "{\"step\":1}\n{\"step\":\n").unwrap();
    let error = Run::read(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("metrics.jsonl, line 2 is damaged: EOF while parsing a value at column 8; restore"),
        "{error}"
    );
    let folder = run_folder(1, |_| "wrong".into());
    fs::write(folder.path().join("completions.jsonl"), "{}\n").unwrap();
    let run = Run::read(folder.path()).unwrap();
    let path = folder.path().join("report.html");
    let error = write_page(&[run], &path).unwrap_err().to_string();
    assert!(error.contains("completions.jsonl, line 1 is damaged: "), "{error}");
    assert!(!path.exists(), "nothing is left of it");
}
