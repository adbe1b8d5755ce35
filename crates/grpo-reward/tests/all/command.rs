//! Rewards by programs: shell scripts that answer well, and those that do not.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use grpo_core::{Asked, Completion, Finish, Message};
use grpo_reward::{Command, Row, Rubric, Scores};
use serde_json::{Value, json};

/// A program that runs `answer` for each request, which is in `$line`.
fn each(answer: &str) -> String {
    format!("while IFS= read -r line; do {answer}; done")
}

fn command(script: &str, settings: Value) -> Command {
    let mut command = json!({ "command": ["sh", "-c", script] });
    command.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    serde_json::from_value(command).unwrap()
}

fn rubric(script: &str, settings: Value) -> Rubric<Row> {
    command(script, settings).add_to(Rubric::new(), "program", 1.0).unwrap()
}

fn score(rubric: &Rubric<Row>, texts: &[&str]) -> Result<Vec<Scores>, String> {
    let completion = |text: &&str| Completion { text: (*text).into(), n_tokens: 7, finish: Finish::Length };
    let completions: Vec<Completion> = texts.iter().map(completion).collect();
    let messages = [Message::new("system", "Be brief."), Message::new("user", "How much?")];
    let row = Row { columns: json!({ "level": 3 }).as_object().unwrap().clone(), ..Row::from("18") };
    rubric.score_group(&Asked { messages: &messages, truth: &row }, &completions).map_err(|e| e.to_string())
}

fn totals(scores: &[Scores]) -> Vec<f32> {
    scores.iter().map(|scores| scores.total).collect()
}

#[test]
fn a_program_sees_everything_and_answers_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = each(&format!(
        r#"printf '%s\n' "$line" >> {}; case "$line" in *'"completion":"right"'*) echo 1.5;; *'"completion":"cut'*) echo null;; *) echo -1;; esac"#,
        seen.display()
    ));
    let rubric = rubric(&script, json!({}));
    let scores = score(&rubric, &["right", "wrong", "cut\n\"", "right"]).unwrap();
    assert_eq!(totals(&scores)[..2], [1.5, -1.0]);
    assert!(scores[2].total.is_nan() && scores[2].each[0].is_nan());
    assert_eq!(scores[3].total, 1.5);
    let requests: Vec<Value> =
        fs::read_to_string(&seen).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = json!({
        "prompt": "How much?",
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "How much?" }],
        "completion": "cut\n\"", "truth": "18", "columns": { "level": 3 }, "tokens": 7, "ending": "length",
    });
    assert_eq!((requests.len(), &requests[2]), (4, &expected));
}

#[test]
fn several_rewards_are_parts_of_the_rubric_and_asked_for_once() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let script = each(&format!(r#"echo x >> {}; echo '{{"style": 0.5, "compiles": null}}'"#, seen.display()));
    let weights = json!({ "rewards": { "compiles": 2.0, "style": 4.0 } });
    let rubric = command(&script, weights).add_to(Rubric::new(), "program", 0.5).unwrap();
    assert_eq!(rubric.names().collect::<Vec<_>>(), ["compiles", "style"]);
    assert_eq!(rubric.reward_weights().collect::<Vec<_>>(), [1.0, 2.0]);
    for _ in 0..2 {
        assert_eq!(totals(&score(&rubric, &["a", "b"]).unwrap()), [1.0, 1.0]);
    }
    assert_eq!(fs::read_to_string(&seen).unwrap().lines().count(), 4);
}

#[test]
fn what_is_no_reward_is_an_error_that_says_why() {
    let one = json!({});
    let named = json!({ "rewards": { "style": 1.0 } });
    for (script, settings, expected) in [
        (each("echo 1; exit 3"), &one, "it ended (exit status: 3) after scoring 1 of 2 completions"),
        ("read line; echo oops >&2; exit 1".into(), &one, "its standard error ends with:\noops"),
        (each("echo NaN"), &one, "line 1 of its answers is no JSON: \"NaN\""),
        (each("echo"), &one, "line 1 of its answers is no JSON: \"\""),
        (
            each("echo '\"high\"'"),
            &one,
            "its answer \"high\" is neither a number nor null, for the completion \"a\"",
        ),
        (each("echo true"), &one, "its answer true is neither a number nor null"),
        (each("echo '{\"style\": 1}'"), &one, "has several rewards: name them in `rewards`"),
        (each("echo 1e39"), &one, "gave inf"),
        (each("echo '{\"form\": 1}'"), &named, "has no reward `style`"),
        (each("echo 1"), &named, "its answer 1 is no object of rewards by name"),
        ("exec <&-; sleep 0.1".into(), &one, "after scoring 0 of 2 completions"),
        (
            "while :; do printf aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done".into(),
            &one,
            "longer than 1048576 bytes",
        ),
    ] {
        let error = score(&rubric(&script, settings.clone()), &["a", "b"]).unwrap_err();
        assert!(error.contains(expected), "{script}: {error}");
        assert!(error.contains("`program`") || error.contains("`style`"), "{error}");
    }
    let error = score(&rubric(&each("echo 1; echo debugging"), one.clone()), &["a", "b"]);
    assert!(error.unwrap_err().contains("line 2 of its answers is no JSON: \"debugging\""));
    for (settings, expected) in [
        (json!({ "command": [] }), "name a program"),
        (json!({ "command": ["/no/such/program"] }), "`/no/such/program` cannot be started"),
        (json!({ "command": ["sh"], "timeout": 0 }), "must be from 1 to 86400 seconds"),
        (json!({ "command": ["sh"], "timeout": u64::MAX }), "must be from 1 to 86400 seconds"),
        (json!({ "command": ["sh"], "processes": 0 }), "its processes at least 1"),
    ] {
        let command: Command = serde_json::from_value(settings).unwrap();
        let error = command.add_to(Rubric::new(), "program", 1.0).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn lines_too_many_are_an_error_of_the_next_group() {
    let rubric = rubric("read line; echo 1; echo debugging; read line; echo 1", json!({}));
    score(&rubric, &["a"]).unwrap();
    thread::sleep(Duration::from_millis(100));
    let error = score(&rubric, &["a"]).unwrap_err();
    assert!(error.contains("it printed more than an answer to each request: \"debugging"), "{error}");
}

#[test]
fn a_program_that_hangs_is_ended_and_one_that_has_ended_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    // It is the child of a shell that waits for it.
    let hangs = format!("sh -c 'echo $$ > {}; exec sleep 1000'; true", pid.display());
    let hangs = rubric(&hangs, json!({ "timeout": 1 }));
    let start = Instant::now();
    let error = score(&hangs, &["a"]).unwrap_err();
    assert!(error.contains("it has scored 0 of 1 completions after 1s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    let process = fs::read_to_string(&pid).unwrap();
    // Of a process that has ended, nothing is left, or no command line.
    let is_there =
        || fs::read(format!("/proc/{}/cmdline", process.trim())).is_ok_and(|line| !line.is_empty());
    while is_there() && start.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(!is_there());

    let once = rubric("read line; echo 1", json!({}));
    for _ in 0..5 {
        // Whether it has already ended, or is about to.
        assert_eq!(totals(&score(&once, &["a"]).unwrap()), [1.0]);
    }
}

#[test]
fn processes_work_side_by_side_and_results_do_not_depend_on_them() {
    let slowly = each("sleep 0.2; case \"$line\" in *'\"completion\":\"a\"'*) echo 1;; *) echo 2;; esac");
    let rubric = rubric(&slowly, json!({ "processes": 3 }));
    let start = Instant::now();
    let found: Vec<Vec<f32>> = thread::scope(|scope| {
        let ask = |text: &'static str| scope.spawn(|| totals(&score(&rubric, &[text, "b"]).unwrap()));
        let asked = ["a", "b", "a"].map(ask);
        asked.map(|thread| thread.join().unwrap()).into()
    });
    assert_eq!(found, [[1.0, 2.0], [2.0, 2.0], [1.0, 2.0]]);
    assert!(start.elapsed() < Duration::from_millis(1100), "{:?}", start.elapsed());
}

#[test]
fn a_program_has_a_time_limit_of_its_own() {
    let rubric = rubric(&each("sleep 0.2; echo 1"), json!({})).with_time_limit(Duration::from_millis(50));
    assert_eq!(totals(&score(&rubric, &["a"]).unwrap()), [1.0]);
}

#[test]
fn a_changed_script_has_another_version() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("verify.sh");
    let version = |text: &str| {
        fs::write(&script, text).unwrap();
        let command = json!({ "command": ["sh", script] });
        let command: Command = serde_json::from_value(command).unwrap();
        let rubric = command.add_to(Rubric::new(), "program", 1.0).unwrap();
        rubric.versions().next().unwrap().to_owned()
    };
    let [first, second, again] = ["exit", "exit 1", "exit"].map(version);
    assert!(first != second && first == again, "{first}");
}
