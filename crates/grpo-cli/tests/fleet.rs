//! A run whose completions are sampled by `grpo serve`: the same as alone, to the bit, whatever happens to servers and to the run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{EMBEDDED, grpo, refused, succeed, text};
use serde_json::{Value, json};

mod common;

const MODEL: &str = "examples/embedded/model";
const STEPS: u64 = 5;

/// A process of `grpo serve`, which ends with this value.
struct Serve {
    process: Child,
    port: u16,
}

impl Serve {
    fn start(port: u16, more: &[&str]) -> Self {
        let mut command = grpo("serve");
        command.args([MODEL, "--device", "cpu", "--port", &port.to_string(), "--max-num-seqs", "8"]);
        let mut process = command.args(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split_once("/v1")).unwrap().0;
        Self { process, port: address.rsplit_once(':').unwrap().1.parse().unwrap() }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn train(out: &Path, more: &[&str]) -> Command {
    let mut command = grpo("train");
    command.args(EMBEDDED).arg("--out").arg(out).args(["--device", "cpu", "--steps", &STEPS.to_string()]);
    command.args(["--problems-per-step", "6", "--group-size", "4", "--max-completion-length", "40"]);
    command.args(["--learning-rate", "1e-3", "--no-preflight", "--save-every", "2"]);
    command.args(["--eval-problems", "4", "--eval-every", "2"]).args(more);
    command
}

/// Where the servers are, as an option.
fn servers(of: &[&Serve]) -> String {
    let urls: Vec<String> =
        of.iter().map(|serve| format!("{{url='http://127.0.0.1:{}'}}", serve.port)).collect();
    format!("rollouts.servers=[{}]", urls.join(","))
}

/// What a run has learned, and what it has recorded of it.
fn learned(run: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = ["metrics.jsonl", "completions.jsonl", "evaluation.json", "model/model.safetensors"];
    files.iter().map(|name| (name.into(), std::fs::read(run.join(name)).unwrap())).collect()
}

#[track_caller]
fn assert_same(run: &Path, alone: &Path) {
    for (name, bytes) in learned(alone) {
        assert!(learned(run)[&name] == bytes, "{} differs", name.display());
    }
}

/// With adapters, which servers load beside each other, and with all weights, which they replace; also when they sample a step ahead.
#[test]
fn a_run_on_two_servers_is_the_run_alone() {
    for more in [&["--lora", "4"][..], &[], &["lag=1"], &["--lora", "4", "lag=1"]] {
        let folder = tempfile::tempdir().unwrap();
        let [alone, fleet] = ["alone", "fleet"].map(|name| folder.path().join(name));
        succeed(&mut train(&alone, more));
        let (first, second) = (Serve::start(0, &[]), Serve::start(0, &[]));
        let of_both = servers(&[&first, &second]);
        let policies = format!("rollouts.folder={}", folder.path().join("policies").display());
        succeed(train(&fleet, more).args([&of_both, &policies]));
        assert_same(&fleet, &alone);
        assert!(!folder.path().join("policies").exists(), "policies are removed when nobody needs them");
        drop((first, second));
        // Without any server: the journal has the samples.
        let replayed = succeed(grpo("replay").arg(&fleet).args(["--step", "3", "--from-start"]));
        assert!(replayed.contains("identical, byte for byte"), "{replayed}");
    }
}

/// Waits for the journal to have samples of this version of the policy.
fn wait_for(run: &Path, version: u64) {
    let prefix = format!("{version:08}-");
    let start = Instant::now();
    loop {
        let entries = std::fs::read_dir(run.join("journal")).into_iter().flatten().flatten();
        if entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "no samples of version {version}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn servers_die_and_come_back_without_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, fleet] = ["alone", "fleet"].map(|name| folder.path().join(name));
    let lora = ["--lora", "4"];
    succeed(&mut train(&alone, &lora));
    let (mut first, second) = (Serve::start(0, &[]), Serve::start(0, &[]));
    let mut run = train(&fleet, &lora)
        .arg(servers(&[&first, &second]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&fleet, 0);
    first.kill();
    wait_for(&fleet, 2);
    let first = Serve::start(first.port, &[]);
    assert!(run.wait().unwrap().success());
    assert_same(&fleet, &alone);
    drop((first, second));
}

#[test]
fn a_run_that_was_killed_learns_from_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, fleet] = ["alone", "fleet"].map(|name| folder.path().join(name));
    succeed(&mut train(&alone, &[]));
    let mut serve = Serve::start(0, &[]);
    let mut run = train(&fleet, &[])
        .arg(servers(&[&serve]))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&fleet, 3);
    run.kill().unwrap();
    run.wait().unwrap();
    serve.kill();
    // Up to the last step in the journal, no server is needed for its samples; then the run has one again, at another port.
    let serve = Serve::start(0, &[]);
    succeed(grpo("resume").arg(&fleet).arg(servers(&[&serve])));
    assert_same(&fleet, &alone);
}

#[test]
fn servers_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let token = folder.path().join("token");
    std::fs::write(&token, "secret").unwrap();
    let (guarded, short) = (
        Serve::start(0, &["--token-file", token.to_str().unwrap()]),
        Serve::start(0, &["--max-model-len", "32"]),
    );
    refused(train(&out, &[]).arg(servers(&[&guarded])), "does not accept the token");
    refused(train(&out, &[]).arg(servers(&[&short])), "start it with --max-model-len");
    refused(train(&out, &[]).arg("rollouts.servers=[{url='http://127.0.0.1:9'}]"), "does not answer");
    refused(train(&out, &[]).arg("rollouts.servers=[{url='127.0.0.1'}]"), "is no address of a server");
    refused(train(&out, &[]).arg("rollouts.servers=[{host='a'}]"), "unknown field `host`");
    assert!(!out.exists());
    let token_file = format!("token_file='{}'", token.display());
    let guarded = format!("rollouts.servers=[{{url='http://127.0.0.1:{}',{token_file}}}]", guarded.port);
    succeed(train(&out, &["--steps", "1"]).arg(guarded));
    let everything = std::fs::read_to_string(out.join("run.json")).unwrap();
    assert!(everything.contains("token_file") && !everything.contains("secret"));
    refused(grpo("serve").args([MODEL, "--host", "0.0.0.0", "--port", "0"]), "give a token");
}

/// A request without the conveniences of a client.
fn ask(serve: &Serve, method: &str, path: &str, body: &Value) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", serve.port)).unwrap();
    let body = body.to_string();
    let host = format!("127.0.0.1:{}", serve.port);
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

#[test]
fn a_server_speaks_the_protocol_and_says_what_it_cannot_do() {
    let serve = Serve::start(0, &["--name", "tiny"]);
    let complete = |body: Value| {
        let (status, text) = ask(&serve, "POST", "/v1/completions", &body);
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let asked = json!({ "model": "tiny", "prompt": "1 + 1 =", "n": 3, "seed": 7, "max_tokens": 12, "logprobs": 0,
                        "return_token_ids": true });
    let (status, first) = complete(asked.clone());
    assert_eq!(status, 200, "{first}");
    assert_eq!(complete(asked.clone()).1["choices"], first["choices"], "a seed repeats");
    assert_eq!(first["choices"].as_array().unwrap().len(), 3);
    let sampled: u64 =
        (0..3).map(|i| first["choices"][i]["token_ids"].as_array().unwrap().len() as u64).sum();
    assert_eq!(first["usage"]["completion_tokens"], sampled);
    // The same prompt as token ids; and a text that ends a completion.
    let mut by_ids = asked.clone();
    by_ids["prompt"] = first["choices"][0]["prompt_token_ids"].clone();
    assert_eq!(complete(by_ids).1["choices"], first["choices"]);
    let said = first["choices"][0]["text"].as_str().unwrap();
    let stop: String = said.chars().skip(said.chars().count() / 2).take(2).collect();
    let mut stopped = asked.clone();
    stopped["stop"] = json!([stop]);
    let (_, stopped) = complete(stopped);
    assert_eq!(stopped["choices"][0]["text"], said[..said.find(&stop).unwrap()]);
    assert_eq!(
        (&stopped["choices"][0]["finish_reason"], &stopped["choices"][0]["stop_reason"]),
        (&json!("stop"), &json!(stop))
    );

    // A stream is the same in parts.
    let mut streamed = asked.clone();
    streamed["stream"] = true.into();
    let (status, text) = ask(&serve, "POST", "/v1/completions", &streamed);
    assert_eq!(status, 200);
    let mut texts = [const { String::new() }; 3];
    assert!(text.contains("data: [DONE]"));
    // Between the events are the lengths of chunks.
    let events =
        text.split("data: ").filter_map(|part| serde_json::from_str(part.split("\n\n").next()?).ok());
    for event in events.filter(Value::is_object) {
        let choice = &event["choices"][0];
        texts[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
    }
    for (i, text) in texts.iter().enumerate() {
        assert_eq!(first["choices"][i]["text"], *text);
    }

    let chat = json!({ "messages": [{ "role": "user", "content": "What is 2 + 3?" }], "temperature": 0, "max_tokens": 30 });
    let (status, answer) = ask(&serve, "POST", "/v1/chat/completions", &chat);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert!(
        status == 200 && !answer["choices"][0]["message"]["content"].as_str().unwrap().is_empty(),
        "{answer}"
    );

    for (change, status, expected) in [
        (json!({ "model": "other" }), 404, "`other` does not exist"),
        (json!({ "prompt": [1, 99_999_999] }), 400, "vocabulary"),
        (json!({ "prompt": [] }), 400, "empty"),
        (json!({ "prompt": ["a", "b"] }), 400, "not several"),
        (json!({ "max_tokens": 100_000 }), 400, "longer than the"),
        (json!({ "max_tokens": 0 }), 400, "max_tokens"),
        (json!({ "n": 0 }), 400, "`n` is 0"),
        (json!({ "temperature": -1 }), 400, "temperature"),
        (json!({ "stop": "" }), 400, "`stop` is empty"),
        (json!({ "logprobs": 5 }), 400, "sampled token alone"),
        (json!({ "logit_bias": { "5": 1 } }), 400, "`logit_bias` is not supported"),
        (json!({ "echo": true }), 400, "`echo` is not supported"),
        (json!({ "sample_keys": { "seed": 1, "step": 1, "problem": 1, "samples": [1] } }), 400, "1 samples"),
    ] {
        let mut body = asked.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (found, answer) = complete(body);
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(found == status && message.contains(expected), "{change}: {found} {message}");
    }
    assert_eq!(ask(&serve, "GET", "/v1/completions", &json!({})).0, 405);
    assert_eq!(ask(&serve, "GET", "/v2", &json!({})).0, 404);
    let load = json!({ "lora_name": "a", "lora_path": "relative" });
    assert_eq!(ask(&serve, "POST", "/v1/load_lora_adapter", &load).0, 400);
    let load = json!({ "lora_name": "a", "lora_path": "/no/such/folder" });
    assert_eq!(ask(&serve, "POST", "/v1/load_lora_adapter", &load).0, 404);
    assert_eq!(ask(&serve, "GET", "/health", &json!({})).0, 200);
}

#[test]
fn a_conversation_in_the_terminal() {
    use std::io::Write;
    let mut command = grpo("chat");
    command.args([MODEL, "--device", "cpu", "--temperature", "0", "--max-tokens", "40"]);
    let mut chat =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    chat.stdin.take().unwrap().write_all(b"What is 2 + 3?\n\nAnd 4 + 4?\n").unwrap();
    let output = chat.wait_with_output().unwrap();
    let shown = text(&output);
    assert!(output.status.success() && shown.lines().count() >= 2, "{shown}");
}
