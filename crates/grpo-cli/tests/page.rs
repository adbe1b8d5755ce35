//! The page of a real run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{EMBEDDED, grpo, refused, succeed};
use grpo::CompletionRecord;
use grpo_record::Run;
use serde_json::Value;

mod common;

/// A list of little-endian numbers in base64.
fn numbers(list: &str) -> Vec<u16> {
    let bytes = STANDARD.decode(list).unwrap();
    bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect()
}

#[test]
fn a_run_becomes_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let (run, page) = (folder.path().join("run"), folder.path().join("report.html"));
    let mut train = grpo("train");
    train.args(EMBEDDED).arg("--out").arg(&run).args(["--group-size", "4", "--max-completion-length", "20"]);
    train.args([
        "--steps",
        "2",
        "--eval-every",
        "1",
        "--eval-problems",
        "3",
        "--no-preflight",
        "max_redraws=1",
    ]);
    succeed(&mut train);
    let found = Run::read(&run).unwrap();
    assert_eq!((found.steps, found.rewards.len(), found.processes.len()), (vec![1, 2], 3, 1));
    assert_eq!(found.evaluations.len(), 3 * 3, "three rewards before, during and after");
    // What the page draws is what a run records.
    for name in [
        "reward",
        "reward_std",
        "rewards/correctness/mean",
        "frac_reward_zero_std",
        "completions/mean_length",
        "completions/min_length",
        "completions/max_length",
        "completions/clipped_ratio",
        "kl",
        "entropy",
        "grad_norm",
        "loss",
        "clip_ratio/region_mean",
        "learning_rate",
        "sampling/sampling_logp_difference/max",
        "redrawn_groups",
        "num_tokens",
        "step_time",
        "time/generate",
        "time/learn",
        "time/reference",
        "tokens_per_second",
    ] {
        assert!(found.columns.contains_key(name), "there is no {name}");
    }
    // Every token is recorded, and together they are the end of the text.
    for line in std::fs::read_to_string(run.join("completions.jsonl")).unwrap().lines() {
        let record: CompletionRecord = serde_json::from_str(line).unwrap();
        let tokens = record.token_record.unwrap();
        let [lengths, logprobs, entropies] =
            [tokens.lengths, tokens.logprobs, tokens.entropies].map(|list| numbers(&list));
        assert_eq!([lengths.len(), logprobs.len(), entropies.len()], [record.tokens; 3]);
        let all: usize = lengths.iter().map(|length| usize::from(*length)).sum();
        assert_eq!(all, record.completion.len(), "the template has no prefill");
        assert!(logprobs.iter().any(|logprob| *logprob > 0) && entropies.iter().any(|nats| *nats > 0));
    }
    let shown = succeed(grpo("report").arg(&run).arg("--out").arg(&page));
    assert!(shown.contains("2 steps, 8 completions, ") && page.exists(), "{shown}");
    refused(grpo("report").arg(folder.path()).arg("--out").arg(&page), "it has no run.json");
    refused(grpo("view").arg(folder.path()), "it has no run.json");
}

#[test]
fn what_is_shown_and_recorded_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut train = grpo("train");
    train.args(EMBEDDED).arg("--out").arg(&run).args(["--group-size", "4", "--max-completion-length", "20"]);
    let output =
        train.args(["--steps", "2", "--save-every", "1", "--json", "--tensorboard"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let steps: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps.iter().map(|step| &step["step"]).collect::<Vec<_>>(), [1, 2]);
    assert!(steps.iter().all(|step| step["reward"].is_number() && step["step_time"].is_number()));
    assert_eq!(std::fs::read_dir(run.join("tensorboard")).unwrap().count(), 1);
    // Another process may record less; each step is replayed as it was recorded.
    let resumed =
        grpo("resume").arg(&run).args(["--quiet", "steps=3", "record_tokens=false"]).output().unwrap();
    assert!(resumed.status.success() && resumed.stdout.is_empty());
    let completions = std::fs::read_to_string(run.join("completions.jsonl")).unwrap();
    let recorded = completions.lines().filter(|line| line.contains("token_record")).count();
    assert_eq!((recorded, completions.lines().count()), (8, 12));
    for step in ["2", "3"] {
        succeed(grpo("replay").arg(&run).args(["--step", step]));
    }
    let table = folder.path().join("steps.csv");
    let shown = succeed(grpo("export").arg(&run).arg("--csv").arg(&table));
    assert!(shown.contains("steps.csv: 3 steps") && table.exists(), "{shown}");
    refused(grpo("export").arg(&run), "--csv");
}
