//! The page of a real run.

use common::{EMBEDDED, grpo, refused, succeed};
use grpo_page::Run;

mod common;

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
    let shown = succeed(grpo("report").arg(&run).arg("--out").arg(&page));
    assert!(shown.contains("2 steps, 8 completions, ") && page.exists(), "{shown}");
    refused(grpo("report").arg(folder.path()).arg("--out").arg(&page), "it has no run.json");
    refused(grpo("view").arg(folder.path()), "it has no run.json");
}
