//! What `docs/reliability.md` promises, of the command as a user runs it. The short form is this; the long one has more kills:
//!
//! ```text
//! GRPO_KILLS=60 cargo test --workspace killed_again -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::{Dice, EMBEDDED, grpo, refused, succeed, text};

mod common;

const STEPS: u64 = 12;

/// A run of the embedded model that takes a few seconds: options that make a difference to what is compared.
fn command(out: &Path, more: &[&str]) -> Command {
    let mut command = grpo("train");
    command.args(EMBEDDED).arg("--out").arg(out).args(["--device", "cpu", "--steps", &STEPS.to_string()]);
    command.args(["--problems-per-step", "4", "--group-size", "4", "--max-completion-length", "60"]);
    command.args(["--learning-rate", "1e-3", "--no-preflight"]);
    command
        .args(["--eval-problems", "4", "--save-every", "2", "--eval-every", "3", "--show-every", "1"])
        .args(more);
    command
}

fn resumed(run: &Path) -> Command {
    let mut command = grpo("resume");
    command.arg(run);
    command
}

/// A run that was never interrupted.
struct Whole {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Whole {
    fn new(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        succeed(&mut command(&path, more));
        Self { _folder: folder, path }
    }
}

static WHOLE: LazyLock<Whole> = LazyLock::new(|| Whole::new(&[]));
static WHOLE_LORA: LazyLock<Whole> = LazyLock::new(|| Whole::new(&["--lora", "4"]));

/// Everything in a run's folder that is the same whenever the run is repeated.
fn determined(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(run.join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            // When and where it ran; and how many bytes of times there were when a checkpoint was written.
            let differs = ["run.json", "times.jsonl", "lock", "state.json", "manifest.json"];
            if run.join(&path).is_dir() {
                folders.push(path);
            } else if !differs.iter().any(|name| path.ends_with(name)) {
                files.insert(path.clone(), std::fs::read(run.join(path)).unwrap());
            }
        }
    }
    files
}

/// Fails if a run is not that of `whole`; returns how many bytes have been compared.
#[track_caller]
fn assert_same(run: &Path, whole: &Path) -> usize {
    let (found, expected) = (determined(run), determined(whole));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for name in ["metrics.jsonl", "completions.jsonl", "evaluation.json", "model/model.safetensors"] {
        assert!(expected.contains_key(Path::new(name)), "{name} is compared");
    }
    for (path, bytes) in &expected {
        assert!(found[path] == *bytes, "{} is not the same", path.display());
    }
    expected.values().map(Vec::len).sum()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for threads in ["1", "3"] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        succeed(command(&run, &[]).env("RAYON_NUM_THREADS", threads));
        assert_same(&run, &WHOLE.path);
    }
}

/// Where a run is, as far as its folder tells.
fn phase(run: &Path) -> &'static str {
    let partial = |folder: &str| {
        let entries = std::fs::read_dir(run.join(folder)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".partial"))
    };
    let last = run.join(format!("checkpoints/step-{STEPS:08}"));
    match () {
        () if !run.join("run.json").exists() => "setting up",
        () if !run.join("before.json").exists() => "tests before training",
        () if partial("checkpoints") => "writing or deleting a checkpoint",
        () if partial("model") || partial("adapter") => "writing the model",
        () if last.exists() => "after the last step",
        () => "loading, or in a step",
    }
}

/// Lets a process run for a random time, or until it is at a checkpoint, and kills it; false if it ended before that.
fn kill(child: &mut Child, run: &Path, dice: &mut Dice) -> bool {
    let until = Instant::now() + Duration::from_millis(dice.number(0, 1500));
    let aimed = dice.number(0, 3) == 0;
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if Instant::now() > until || (aimed && phase(run) == "writing or deleting a checkpoint") {
            break;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    true
}

#[test]
fn a_run_that_is_killed_again_and_again_is_the_run_that_never_was() {
    let target: usize = std::env::var("GRPO_KILLS").map_or(6, |kills| kills.parse().unwrap());
    let (mut kills, mut runs, mut bytes) = (0, 0, 0);
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    let mut dice = Dice::new(6);
    while kills < target {
        let (whole, more): (_, &[&str]) =
            if runs % 2 == 0 { (&WHOLE, &[]) } else { (&WHOLE_LORA, &["--lora", "4"]) };
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        loop {
            let mut command = if run.join("run.json").exists() { resumed(&run) } else { command(&run, more) };
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            if kills < target && kill(&mut child, &run, &mut dice) {
                kills += 1;
                *phases.entry(phase(&run)).or_default() += 1;
                continue;
            }
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            break;
        }
        bytes += assert_same(&run, &whole.path);
        runs += 1;
    }
    println!("{kills} kills of {runs} runs, {bytes} bytes compared; {phases:?}");
}

#[test]
fn a_step_is_repeated_from_the_folder_alone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("moved");
    copy(&WHOLE_LORA.path, &run);
    let replay = |step: &str, more: &[&str]| {
        let mut command = grpo("replay");
        command.arg(&run).args(["--step", step]).args(more).output().unwrap()
    };
    // After the checkpoint of step 10, and after none.
    for (step, from) in [("12", "from after step 10"), ("3", "from after step 0")] {
        let output = replay(step, &[]);
        assert!(output.status.success() && text(&output).contains(from), "{}", text(&output));
        let expected = format!(
            "step {step}: completions, rewards and advantages are identical, byte for byte (16 lines"
        );
        assert!(text(&output).contains(&expected), "{}", text(&output));
    }
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = metrics.lines().nth(11).unwrap();
    let loss = serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].to_string();
    std::fs::write(run.join("metrics.jsonl"), metrics.replace(&format!("\"loss\":{loss}"), "\"loss\":0.5"))
        .unwrap();
    let output = replay("12", &[]);
    assert!(!output.status.success());
    assert!(text(&output).contains(&format!("loss: 0.5 -> {loss}")), "{}", text(&output));
    let shown = text(&replay("13", &[]));
    assert!(shown.contains("has no step 13: its record ends with step 12"), "{shown}");
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn what_cannot_be_resumed_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&mut resumed(&folder.path().join("none")), "there is no run to resume");
    refused(&mut resumed(&empty), "there is no run to resume");
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0, "the folder is left as it was");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&mut resumed(&file), "is a file");
    refused(&mut command(&file, &[]), "is a file");
    refused(grpo("replay").arg(folder.path().join("none")).args(["--step", "1"]), "there is no run");

    let run = folder.path().join("run");
    copy(&WHOLE.path, &run);
    refused(resumed(&run).args(["--steps", "3"]), "is already at step 12");
    refused(&mut command(&run, &[]), "already has a run");
    let lock = std::fs::File::create(run.join("lock")).unwrap();
    lock.lock().unwrap();
    refused(&mut resumed(&run), "another process is working");
    drop(lock);

    // It can be made longer, and a damaged checkpoint costs the steps since the one before.
    let weights = run.join("checkpoints/step-00000012/model/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let shown = succeed(resumed(&run).args(["--steps", "13"]));
    for expected in [
        "model.safetensors is not what was written",
        "resuming from an earlier",
        "Resuming after step 10 of 13",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert!(metrics.starts_with(&std::fs::read_to_string(WHOLE.path.join("metrics.jsonl")).unwrap()));
    assert_eq!(metrics.lines().count(), 13);

    let description = run.join("run.json");
    let text = std::fs::read_to_string(&description).unwrap();
    std::fs::write(&description, text.replacen("\"format\": 7", "\"format\": 3", 1)).unwrap();
    refused(&mut resumed(&run), "format 3");
    std::fs::write(&description, text).unwrap();
    let problems = run.join("start/problems.jsonl");
    std::fs::remove_file(&problems).unwrap();
    std::fs::write(&problems, "").unwrap();
    refused(&mut resumed(&run), "is not what the run started with (problems.jsonl: ");
}

/// A folder that a run was begun in and did not come to its first step, and one with something else in it.
#[test]
fn a_new_run_takes_nothing_over_and_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    succeed(&mut command(&run, &["--steps", "1", "--eval-problems", "1", "--seed", "9"]));
    for made in ["metrics.jsonl", "completions.jsonl"] {
        std::fs::write(run.join(made), "").unwrap();
    }
    for made in ["checkpoints", "model"] {
        std::fs::remove_dir_all(run.join(made)).unwrap();
    }
    std::fs::remove_file(run.join("evaluation.json")).unwrap();
    succeed(&mut command(&run, &[]));
    assert_same(&run, &WHOLE.path);

    let others = folder.path().join("others");
    std::fs::create_dir_all(others.join("start")).unwrap();
    std::fs::write(others.join("start/mine"), "").unwrap();
    let output = command(&others, &[]).output().unwrap();
    assert!(!output.status.success() && text(&output).contains("other files"), "{}", text(&output));
    assert!(others.join("start/mine").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let full = command(&run, &[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""])
        .arg(full.get_program())
        .args(full.get_args());
    refused(command.current_dir(full.get_current_dir().unwrap()), "File too large");
    assert!(!run.exists());
}

/// For a while no file of the process can grow, as on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_writing_and_not_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    // Nothing is evaluated meanwhile: the best of the evaluations that can be saved would be another.
    let later = ["--eval-every", "12"];
    let full = command(&run, &later);
    // A write that is refused is to be an error, not a signal.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(full.get_program()).args(full.get_args());
    command.current_dir(full.get_current_dir().unwrap());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let limit = |bytes: &str| {
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
        assert!(status.unwrap().success());
    };
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("Step 2/") {
            limit("1000");
        } else if line.starts_with("Step 9/") {
            limit("unlimited");
        }
    }
    let output = child.wait_with_output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    for expected in [
        "Steps cannot be recorded at the moment: ",
        "A checkpoint could not be written: ",
        "All steps are recorded again.",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert_same(&run, &Whole::new(&later).path);
}
