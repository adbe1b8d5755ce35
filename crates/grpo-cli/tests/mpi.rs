//! Processes that `mpirun` starts train one policy. With the feature `mpi`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{EMBEDDED, grpo, refused, succeed, text};

mod common;

/// A command of grpo in some processes.
fn mpirun(processes: usize, command: &str) -> Command {
    let mut mpirun = Command::new("mpirun");
    mpirun.current_dir(grpo(command).get_current_dir().unwrap());
    mpirun.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    // More processes than cores, on a machine that may not let them share memory.
    mpirun
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
    mpirun.args(["-n", &processes.to_string()]).arg(grpo(command).get_program()).arg(command);
    mpirun
}

fn options(command: &mut Command, out: &Path, more: &[&str]) {
    command.args(EMBEDDED).arg("--out").arg(out).args(["--device", "cpu", "--steps", "4"]);
    command.args(["--problems-per-step", "5", "--group-size", "4", "--max-completion-length", "40"]);
    command.args(["--learning-rate", "1e-3", "--no-preflight", "--save-every", "2"]);
    command.args(["--eval-problems", "4", "--eval-every", "2"]).args(more);
}

fn train(processes: usize, out: &Path, more: &[&str]) -> Command {
    let mut command = mpirun(processes, "train");
    options(&mut command, out, more);
    command
}

fn read(run: &Path, file: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(run.join(file)).unwrap()).into_owned()
}

#[track_caller]
fn assert_same(run: &Path, other: &Path) {
    for file in ["metrics.jsonl", "completions.jsonl", "evaluation.json", "model/model.safetensors"] {
        assert!(std::fs::read(run.join(file)).unwrap() == std::fs::read(other.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn processes_train_like_one_and_repeatably() {
    for more in [&["--lora", "4"][..], &["lag=1"]] {
        let folder = tempfile::tempdir().unwrap();
        let [alone, first, second] = ["alone", "first", "second"].map(|name| folder.path().join(name));
        let mut command = grpo("train");
        options(&mut command, &alone, more);
        succeed(&mut command);
        succeed(&mut train(2, &first, more));
        succeed(&mut train(2, &second, more));
        assert_same(&first, &second);
        // The samples of the first step are the same to the bit; then gradients are added in another order.
        let of_step = |run: &Path| -> Vec<String> {
            let completions = read(run, "completions.jsonl");
            completions.lines().filter(|line| line.contains("\"step\":1,")).map(str::to_string).collect()
        };
        assert!(!of_step(&alone).is_empty() && of_step(&alone) == of_step(&first));
    }
}

#[test]
fn the_death_of_one_ends_all_and_the_run_resumes_as_if_nothing_had_been() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parted] = ["whole", "parted"].map(|name| folder.path().join(name));
    succeed(&mut train(3, &whole, &[]));
    let mut running = train(3, &parted, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !parted.join("checkpoints/step-00000002").exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    // The newest process of this run: one that follows.
    let newest = ["-KILL", "-n", "-f", parted.to_str().unwrap()];
    assert!(Command::new("pkill").args(newest).status().unwrap().success());
    assert!(!running.wait().unwrap().success());
    succeed(mpirun(3, "resume").arg(&parted));
    assert_same(&parted, &whole);
    let replay = ["--step", "4", "--from-start"];
    refused(grpo("replay").arg(&parted).args(replay), "`mpirun -n 3 grpo replay");
    let replayed = succeed(mpirun(3, "replay").arg(&parted).args(replay));
    assert!(replayed.matches("identical, byte for byte").count() == 8, "{replayed}");
}

#[test]
fn an_error_of_one_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let reward = "rewards=[{command=['false'],name='never'}]";
    refused(&mut train(2, &out, &[reward, "--no-audit"]), "never");
    // All fail in the same step; the first one says why, and saves the model before it ends the others.
    let out = folder.path().join("diverged");
    let output = train(2, &out, &["--learning-rate", "1e30"]).output().unwrap();
    let shown = text(&output);
    assert!(!output.status.success() && shown.matches("Error: ").count() == 1, "{shown}");
    assert!(out.join("model/model.safetensors").exists() && out.join("checkpoints").exists(), "{shown}");
    refused(mpirun(2, "evaluate").arg("examples/embedded/model"), "each would do the same");
}
