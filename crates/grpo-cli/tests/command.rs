//! The command as a newcomer meets it.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{EMBEDDED, grpo, refused, succeed, text};
use serde_json::{Value, json};

mod common;

/// A short run of the embedded model.
fn train(out: &Path, more: &[&str]) -> Command {
    let mut command = grpo("train");
    command.args(EMBEDDED).arg("--out").arg(out).args(["--group-size", "4", "--max-completion-length", "20"]);
    command.args(["--steps", "2", "--no-preflight"]).args(more);
    command
}

#[test]
fn bad_input_is_refused_once_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (more, expected) in [
        (&["--learning-rate", "-1"][..], "learning_rate"),
        (&["--recipe", "ppo"], "choose one of grpo, bnpo, dapo"),
        (&["--lora", "0"], "'--lora <RANK>': 0 is not in 1.."),
        (&["--lora", "4", "--lora-alpha", "-1"], "alpha"),
        (&["--temperature", "0"], "temperature"),
        (&["--group-size", "1"], "group_size"),
        (&["--max-completion-tokens", "100000"], "max_completion_length is 100000"),
        (&["--device", "abacus"], "choose one of auto, cpu, metal"),
        #[cfg(not(feature = "cuda"))]
        (&["--device", "cuda"], "build it with the feature `cuda`"),
        (&["--dataset", "/no/such/place"], "/no/such/place"),
        (&["--model", "/no/such/place"], "/no/such/place"),
        (&["--config", "/no/such/place"], "/no/such/place"),
        (&["--config", "/no/\u{1b}[31m"], "/no/⟨U+001B⟩[31m"),
        (
            &["--eval-problems", "3000", "--dataset", "examples/embedded/problems/train.parquet"],
            "hold out fewer",
        ),
        (&["learning_rat=1"], "did you mean `learning_rate`?"),
        (&["--learning-rate", "nan"], "it must be a number"),
        (&["beta"], "not of the form key=value"),
    ] {
        let output = train(&out, more).output().unwrap();
        let shown = text(&output);
        assert!(!output.status.success() && shown.contains(expected), "{more:?}: {shown}");
        assert_eq!(shown.matches(expected).count(), 1, "{more:?}: {shown}");
        assert!(!out.exists(), "{more:?} has left something behind");
    }
    refused(&mut grpo("train"), "a run needs one: a model folder or a Hub id");
}

#[test]
fn a_file_is_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let expected = format!("{} is a file: a run needs a folder", file.display());
    refused(&mut train(&file, &[]), &expected);
    refused(grpo("resume").arg(&file), &expected);
    refused(grpo("replay").arg(&file).args(["--step", "1"]), &expected);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
}

/// Otherwise each of the processes would begin a run of its own.
#[cfg(not(feature = "mpi"))]
#[test]
fn mpirun_needs_a_program_with_mpi() {
    for launcher in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        let mut command = train(Path::new("/no/such/place"), &[]);
        refused(command.env(launcher, "2"), "build it with --features mpi");
    }
}

#[test]
fn a_damaged_model_is_named_by_the_path_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    let embedded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/embedded/model");
    for entry in std::fs::read_dir(embedded).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
    }
    let weights = model.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let out = folder.path().join("run");
    refused(train(&out, &[]).arg("--model").arg(&model), weights.to_str().unwrap());
    assert!(!out.exists());
}

#[cfg(unix)]
#[test]
fn a_run_continues_when_nobody_reads_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut child = train(&out, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(out.join("model/model.safetensors").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupt_before_the_first_step_ends_a_run_that_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let more = ["--eval-problems", "384", "--max-completion-length", "80", "batch_rows=1"];
    let mut child = train(&out, &more).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut shown = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    while !shown.contains("Disk: ") {
        assert!(stdout.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    std::thread::sleep(std::time::Duration::from_millis(300)); // until the handler is there
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    stdout.read_to_string(&mut shown).unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = shown + &text(&output);
    assert!(output.status.success() && shown.contains("Interrupted after step 0 of 2"), "{shown}");
    assert!(shown.contains("To resume the run:\n  grpo resume"), "{shown}");
    assert!(!out.join("before.json").exists() && out.join("run.json").exists());
}

#[test]
fn a_preflight_says_what_a_run_takes_and_writes_nothing() {
    let mut command = grpo("preflight");
    command.args(EMBEDDED).args(["--group-size", "4", "--max-completion-length", "60", "--steps", "10"]);
    let shown = succeed(&mut command);
    for expected in [
        "Memory: about",
        "Disk: about",
        "Preflight: 32 problems x 4 completions: mean reward ",
        "(pass@4)",
        " s per step: ",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let shown = succeed(command.args(["--max-completion-length", "1"]));
    assert!(shown.contains("Warning: every completion is cut off at max_completion_length"), "{shown}");
}

#[test]
fn the_configuration_that_is_shown_is_the_one_that_is_trained_with() {
    let folder = tempfile::tempdir().unwrap();
    let shown =
        succeed(grpo("config").args(["recipe=dapo", "lora.rank=2", "steps=1", "max_completion_length=9"]));
    for expected in [
        "recipe = \"dapo\" # grpo, bnpo",
        "# max_redraws = 3 #",
        "rank = 2 # PEFT's r.",
        "learning_rate = 0.00001 #",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let file = folder.path().join("run.toml");
    std::fs::write(&file, &shown).unwrap();
    let out = folder.path().join("run");
    let mut command = grpo("train");
    command.arg("--config").arg(&file).args(EMBEDDED).arg("--out").arg(&out).arg("--no-preflight");
    succeed(&mut command);
    let described: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    assert_eq!(described["config"]["policy"]["lora"]["rank"], 2);
    assert_eq!(described["config"]["algorithm"]["recipe"]["max_redraws"], 3);
    refused(grpo("config").arg("learning_rat=1"), "did you mean `learning_rate`?");
}

/// Rewards are a part of the configuration: a run is paid by them, resumed with them, and replayed with them.
#[test]
fn rewards_are_those_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let [file, run] = ["run.toml", "run"].map(|name| folder.path().join(name));
    let write = |rewards: &str| std::fs::write(&file, rewards).unwrap();
    write(
        r#"
        [[rewards]]
        kind = "numeric"
        name = "right"
        [[rewards]]
        kind = "strict_format"
        weight = 0.2
        gate = "right"
        [[rewards]]
        kind = "must_not_match"
        name = "no dollars"
        pattern = '\$'
        reward = 0.1
        "#,
    );
    let config = ["--config", file.to_str().unwrap()];
    succeed(&mut train(&run, &config));
    let lines = std::fs::read_to_string(run.join("completions.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8);
    for line in lines {
        let [right, format, brief] = ["right", "strict_format", "no dollars"]
            .map(|name| line["rewards"][name].as_f64().unwrap_or_else(|| panic!("{name} in {line}")));
        let paid = if right > 0.0 { 0.2 * format } else { 0.0 };
        assert!((line["reward"].as_f64().unwrap() - right - paid - brief).abs() < 1e-6, "{line}");
    }
    succeed(grpo("resume").arg(&run).args(["--steps", "3"]));
    let replayed = succeed(grpo("replay").arg(&run).args(["--step", "3", "--from-start"]));
    assert_eq!(replayed.matches("identical, byte for byte").count(), 6, "{replayed}");
    let dataset = ["--dataset", "examples/embedded/problems", "--problems", "3"];
    let audited = succeed(grpo("audit").args(config).args(dataset));
    assert!(audited.contains("the rewards of the configuration"), "{audited}");

    for (rewards, expected) in [
        ("[[rewards]]\nkind = 'numerical'", "there is no reward `numerical`: did you mean `numeric`?"),
        ("[[rewards]]\nkind = 'numeric'\n[[rewards]]\nkind = 'numeric'", "another reward has the same name"),
        ("[[rewards]]\nkind = 'numeric'\ngate = 'right'", "the rubric has no part `right`"),
        ("[[rewards]]\nkind = 'must_match'\npattern = '('", "reward `must_match`: the pattern"),
        ("rewards = []", "there is nothing in `rewards`"),
    ] {
        write(rewards);
        refused(&mut train(&folder.path().join("other"), &config), expected);
    }
    let listed = succeed(&mut grpo("rewards"));
    for expected in [
        "\nnumeric: that text is the same number as the truth\n  reward = 2.0\n  truth 18\n      2 for",
        "gate",
        "\nrepetition: ",
    ] {
        assert!(listed.contains(expected), "{expected}: {listed}");
    }
}

/// A dataset says which columns it has, and what of an answer is the truth.
#[test]
fn a_dataset_has_columns_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let [data, run, evaluation] = ["sums.jsonl", "run", "evaluation"].map(|name| folder.path().join(name));
    let line = |n: u32| format!("{{\"problem\": \"{n} + 1?\", \"sum\": \"{n} + 1 = {}\"}}\n", n + 1);
    std::fs::write(&data, (0..9).map(line).collect::<String>()).unwrap();
    let dataset = ["--dataset", data.to_str().unwrap()];
    let columns =
        ["columns.question=problem", "columns.answer=sum", r"columns.truth={ pattern = '= (\d+)' }"];
    succeed(&mut train(&run, &[&dataset[..], &columns].concat()));
    let lines = std::fs::read_to_string(run.join("completions.jsonl")).unwrap();
    for line in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (left, _) = line["question"].as_str().unwrap().split_once(" + 1?").unwrap();
        assert_eq!(line["truth"], (left.parse::<u32>().unwrap() + 1).to_string());
    }
    refused(&mut train(&folder.path().join("other"), &dataset), "has no field `question`");

    let mut evaluate = grpo("evaluate");
    evaluate.args(["examples/embedded/model", "--device", "cpu", "--max-completion-length", "9", "--out"]);
    evaluate.arg(evaluation).args(dataset).args(["--question-column", "problem", "--answer-column", "sum"]);
    let shown = succeed(evaluate.args(["--truth-pattern", r"\d+$"]));
    assert!(shown.contains("9 problems"), "{shown}");
    refused(evaluate.args(["--few-shot", "1"]), "few_shot` is 1: examples are worked solutions");

    // The layout of MATH, as docs/running.md has it: right answers earn the reward, and tricks do not.
    let [data, file] = ["math.jsonl", "math.toml"].map(|name| folder.path().join(name));
    let line = |n: u32| {
        let solution = format!(r"We divide. So $\\boxed{{\\frac{{{n}}}{{7}}}}$.");
        format!(r#"{{"problem": "Divide {n} by 7.", "solution": "{solution}"}}"#) + "\n"
    };
    std::fs::write(&data, (1..6).map(line).collect::<String>()).unwrap();
    let columns = "columns = { question = 'problem', answer = 'solution', truth = 'boxed' }";
    let text = format!("dataset = '{}'\n{columns}\n[[rewards]]\nkind = 'math_equality'", data.display());
    std::fs::write(&file, text).unwrap();
    let audited = succeed(grpo("audit").arg("--config").arg(&file));
    assert!(
        audited.contains("cases: 5") && !audited.contains("error") && !audited.contains("fatal"),
        "{audited}"
    );
}

#[test]
fn shells_get_completions_and_people_help() {
    assert!(succeed(grpo("completions").arg("bash")).contains("_grpo"));
    let [short, long] = ["-h", "--help"].map(|help| succeed(grpo("train").arg(help)));
    for heading in ["Model and data:", "Sampling:", "Algorithm:", "LoRA:", "Execution (may change"] {
        assert!(short.contains(heading) && long.contains(heading), "{heading}: {short}");
    }
    assert!(long.contains("- dapo: clips higher") && !short.contains("- dapo: "), "{long}");
}

#[test]
fn countdown_is_a_configuration_and_rows_that_cannot_be_scored_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (folder.path().join("numbers.jsonl"), folder.path().join("run.toml"));
    let row = |nums: Value, target: u32| json!({ "nums": nums, "target": target }).to_string();
    let rows = [row(json!([1, 2]), 3), row(json!([2, 5]), 10), row(json!([4, 4]), 8)];
    let text = format!(
        "dataset = '{}'\nprompt = 'Make {{{{ target }}}} of {{{{ nums }}}}.'\ncolumns.answer = 'target'\ncolumns.truth = 'whole'\n\
         [[rewards]]\nkind = 'countdown'\nnumbers = 'nums'",
        data.display()
    );
    std::fs::write(&config, text).unwrap();
    let train = |out: &str| {
        let mut command = grpo("train");
        command.args([
            "--model",
            "examples/embedded/model",
            "--device",
            "cpu",
            "--steps",
            "1",
            "--no-preflight",
        ]);
        command.args(["--max-completion-length", "9", "--group-size", "2", "--config"]).arg(&config);
        command.arg("--out").arg(folder.path().join(out));
        command
    };
    std::fs::write(&data, rows.join("\n")).unwrap();
    succeed(&mut train("run"));
    std::fs::write(&data, format!("{}\n{}", rows.join("\n"), row(json!("3 4"), 12))).unwrap();
    let expected = "training row 4: reward `countdown` failed: the column `nums` is no list of whole numbers";
    refused(&mut train("refused"), expected);
    std::fs::write(&data, rows.join("\n")).unwrap();
    refused(train("split").arg("test_split=dev"), "the dataset is a single file, which has no such parts");
}
