//! What the tests share: a run folder.

use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A run folder with `steps` steps of two problems, each with three completions.
pub(crate) fn run_folder(steps: u64, completion: impl Fn(u64) -> String) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    let run = json!({
        "format": 6, "began": "2026-11-27T07:38:28",
        "config": { "algorithm": { "group_size": 3, "sampling": { "temperature": 1.0 } }, "task": { "model": "m" } },
        "rewards": { "correctness": {}, "format": {} },
        "processes": [{ "began": "2026-11-27T07:38:28Z", "after_step": 0, "platform": "linux x86_64", "threads": 2 }],
    });
    write("run.json", run.to_string());
    let answers = |text: &str, correctness: f64| {
        let completion = json!({
            "step": 0, "problem": 4, "sample": 0, "question": "1 + 6?", "truth": "7", "prompt": "1 + 6?", "completion": text,
            "tokens": 2, "finish": "stop", "reward": correctness, "rewards": { "correctness": correctness, "format": 0.0 },
        });
        let share = json!({ "successes": u8::from(correctness > 0.0), "trials": 1 });
        let rewarded = json!([{ "name": "correctness", "share": share }]);
        json!({ "test": "sums", "step": 0, "rewarded": rewarded, "completions": [completion] })
    };
    let evaluation = json!([{ "before": answers("6", 0.0), "after": answers("7", 2.0) }]);
    write("evaluation.json", evaluation.to_string());
    let lines = |line: &dyn Fn(u64) -> Value| (1..=steps).map(|step| line(step).to_string() + "\n").collect();
    write(
        "metrics.jsonl",
        lines(&|step| json!({ "step": step, "reward": 0.5, "kl": null, "diagnoses": ["low"] })),
    );
    write("times.jsonl", lines(&|step| json!({ "step": step, "step_time": 2.5 })));
    let completions = (1..=steps).flat_map(|step| (0..6).map(move |i| (step, i)));
    let line = |(step, i): (u64, u64)| {
        let right = i % 3 == 0;
        let text = if right { "so <answer>7</answer>".into() } else { completion(i) };
        json!({
            "step": step, "problem": 10 + i / 3, "sample": i % 3, "question": "3 + 4?", "truth": "7", "prompt": "3 + 4?",
            "completion": text, "tokens": 5, "finish": if right { "stop" } else { "length" }, "reward": 2.0,
            "rewards": { "correctness": if right { 2.0 } else { 0.0 }, "format": 0.5 }, "advantage": 1.0,
            // Five tokens of 0 bytes and 1, 2, 0, 1 and 3 nats.
            "token_record": { "lengths": "AAAAAAAAAAAAAA==", "logprobs": "AAQACAAAAAQADA==", "entropies": "AAQACAAAAAQADA==" },
        })
        .to_string()
            + "\n"
    };
    write("completions.jsonl", completions.map(line).collect());
    folder
}

/// A value that has been compressed.
pub(crate) fn unpack(bytes: &[u8]) -> Value {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}
