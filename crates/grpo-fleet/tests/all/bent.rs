//! A server that breaks the protocol in every way that was met or feared.

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grpo_fleet::{Fleet, FleetConfig, FleetError, PolicyKind, ServerConfig};
use grpo_rollout::{Ended, Request, SampleKey, Sampler, Sampling};
use serde_json::{Value, json};
use tiny_http::{Header, Request as Http, Response, Server};

/// What a server does with its next request for completions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bend {
    Good,
    CutJson,
    NoNumber,
    WrongCount,
    WrongModel,
    Status(u16),
    Hang,
    Reset,
}

/// A server of ours, and what it was asked.
struct Bent {
    url: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    adapters: Arc<Mutex<Vec<String>>>,
    /// Whether it ends with the next request for completions, which it does not answer.
    ends: Arc<AtomicBool>,
}

impl Bent {
    /// The bends come one after the other; then it is good.
    fn new(bends: &[Bend]) -> Self {
        let http = Server::http("127.0.0.1:0").unwrap();
        let url = format!("http://{}", http.server_addr().to_ip().unwrap());
        let bends = Arc::new(Mutex::new(VecDeque::from(bends.to_vec())));
        let (seen, adapters, ends) = (Arc::default(), Arc::default(), Arc::<AtomicBool>::default());
        let bent = Self { url, seen: Arc::clone(&seen), adapters: Arc::clone(&adapters), ends: ends.clone() };
        std::thread::spawn(move || {
            while let Ok(request) = http.recv() {
                if ends.load(Ordering::Relaxed) && request.url() == "/v1/completions" {
                    drop(http);
                    std::thread::sleep(Duration::from_secs(60));
                    return drop(request);
                }
                let (bends, seen, adapters) = (bends.clone(), seen.clone(), adapters.clone());
                std::thread::spawn(move || answer(request, &bends, &seen, &adapters));
            }
        });
        bent
    }

    fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

fn answer(
    mut request: Http,
    bends: &Mutex<VecDeque<Bend>>,
    seen: &Mutex<Vec<(String, Value)>>,
    adapters: &Mutex<Vec<String>>,
) {
    let mut body = String::new();
    request.as_reader().read_to_string(&mut body).unwrap();
    let (path, body) = (request.url().to_string(), serde_json::from_str::<Value>(&body).unwrap_or_default());
    seen.lock().unwrap().push((path.clone(), body.clone()));
    let name = || body["lora_name"].as_str().unwrap().to_string();
    match path.as_str() {
        "/v1/models" => {
            let adapter = |name: &String| json!({ "id": name, "owned_by": "vllm", "parent": "base" });
            let mut data =
                vec![json!({ "id": "base", "owned_by": "vllm", "parent": null, "max_model_len": 64 })];
            data.extend(adapters.lock().unwrap().iter().map(adapter));
            respond(request, 200, &json!({ "data": data }).to_string());
        }
        "/v1/load_lora_adapter"
            if !Path::new(body["lora_path"].as_str().unwrap()).join("adapter").exists() =>
        {
            respond(request, 404, r#"{"error":{"message":"No adapter found for <path>"}}"#);
        }
        "/v1/load_lora_adapter" => {
            adapters.lock().unwrap().push(name());
            respond(request, 200, "Success");
        }
        "/v1/unload_lora_adapter" => {
            adapters.lock().unwrap().retain(|adapter| *adapter != name());
            respond(request, 200, "Success");
        }
        _ => {
            let bend = bends.lock().unwrap().pop_front().unwrap_or(Bend::Good);
            let known = adapters.lock().unwrap().iter().any(|adapter| body["model"] == **adapter);
            if known { complete(request, &body, bend) } else { respond(request, 404, "no such model") }
        }
    }
}

fn complete(request: Http, body: &Value, bend: Bend) {
    let n = body["n"].as_u64().unwrap() - u64::from(bend == Bend::WrongCount);
    let logprob = if bend == Bend::NoNumber { Value::Null } else { json!(-0.5) };
    let choice = |index: u64| {
        let token = (body["seed"].as_u64().unwrap() / 1024 + index) % 50;
        json!({
            "index": index, "finish_reason": "length", "token_ids": [token, token], "prompt_token_ids": body["prompt"],
            "logprobs": { "token_logprobs": [logprob, logprob] },
        })
    };
    let model = if bend == Bend::WrongModel { json!("base") } else { body["model"].clone() };
    let answer = json!({ "model": model, "choices": (0..n).map(choice).collect::<Vec<_>>() }).to_string();
    match bend {
        Bend::CutJson => respond(request, 200, &answer[..answer.len() / 2]),
        Bend::Status(status) => respond(request, status, r#"{"error":{"message":"bent"}}"#),
        Bend::Hang => std::thread::sleep(Duration::from_secs(30)),
        // The head of an answer, and nothing more.
        Bend::Reset => {
            drop(request.into_writer().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"))
        }
        _ => respond(request, 200, &answer),
    }
}

fn respond(request: Http, status: u16, body: &str) {
    let json = Header::from_bytes("Content-Type", "application/json").unwrap();
    let _ = request.respond(Response::from_string(body).with_status_code(status).with_header(json));
}

fn config(servers: &[&Bent]) -> FleetConfig {
    let server = |bent: &&Bent| ServerConfig { url: bent.url.clone(), admin_url: None, token_file: None };
    FleetConfig {
        servers: servers.iter().map(server).collect(),
        timeout: 2,
        patience: 4,
        ..FleetConfig::default()
    }
}

/// A policy of one file.
fn publish(fleet: &Fleet, version: u64) -> Result<(), FleetError> {
    fleet.publish(version, PolicyKind::Adapter, &|folder| Ok(std::fs::write(folder.join("adapter"), "")?))
}

const GROUPS: u64 = 6;

/// Samples groups of three; how many tokens came.
fn sample(fleet: &Fleet) -> Result<Vec<(usize, usize, Vec<u32>)>, FleetError> {
    let sampler = Sampler { sampling: Sampling::default(), stop: vec![99], max_tokens: 2, batch_rows: 1 };
    let keys: Vec<Vec<SampleKey>> = (0..GROUPS)
        .map(|problem| (0..3).map(|sample| SampleKey { seed: 0, step: 0, problem, sample }).collect())
        .collect();
    let prompts: Vec<[u32; 2]> = (0..GROUPS as u32).map(|i| [i, 7]).collect();
    let requests: Vec<Request<'_>> =
        prompts.iter().zip(&keys).map(|(prompt, keys)| Request { prompt, keys }).collect();
    let mut found = Vec::new();
    fleet.sample_each(&sampler, &requests, &mut |Ended { request, index, sample }| {
        found.push((request, index, sample.tokens));
        ControlFlow::Continue(())
    })?;
    found.sort();
    Ok(found)
}

fn connect(servers: &[&Bent], folder: &Path) -> Fleet {
    let fleet = Fleet::connect(&config(servers), folder).unwrap();
    publish(&fleet, 0).unwrap();
    fleet
}

#[test]
fn a_server_that_fails_is_asked_again_and_others_take_its_groups() {
    let folder = tempfile::tempdir().unwrap();
    let straight = sample(&connect(&[&Bent::new(&[])], folder.path())).unwrap();
    assert_eq!(straight.len(), GROUPS as usize * 3);
    for bend in
        [Bend::CutJson, Bend::Status(503), Bend::Status(429), Bend::Status(500), Bend::Reset, Bend::Hang]
    {
        let (bent, good) = (Bent::new(&[bend, Bend::Good, bend]), Bent::new(&[]));
        // Alone, and with another one.
        assert_eq!(sample(&connect(&[&bent], folder.path())).unwrap(), straight, "{bend:?}");
        let bent = Bent::new(&[bend, bend]);
        assert_eq!(sample(&connect(&[&bent, &good], folder.path())).unwrap(), straight, "{bend:?}");
        assert!(good.paths().iter().any(|path| path == "/v1/completions"), "both are used");
    }
}

/// As vLLM does when it shuts down: it keeps the connections that it has, and accepts no others.
#[test]
fn a_server_that_keeps_a_connection_open_but_is_gone_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (bent, good) = (Bent::new(&[]), Bent::new(&[]));
    let config = FleetConfig { timeout: 600, ..config(&[&bent, &good]) };
    let fleet = Fleet::connect(&config, folder.path()).unwrap();
    publish(&fleet, 0).unwrap();
    let straight = sample(&fleet).unwrap();
    bent.ends.store(true, Ordering::Relaxed);
    fleet.report();
    assert_eq!(sample(&fleet).unwrap(), straight);
    let groups: Vec<u64> = fleet.report().iter().map(|server| server.groups).collect();
    assert_eq!(groups, [0, GROUPS]);
}

#[test]
fn a_server_that_lies_ends_the_step_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (bend, expected) in [
        (Bend::NoNumber, "no log-probability"),
        (Bend::WrongCount, "2 completions where 3"),
        (Bend::WrongModel, "by the model `base` instead of `grpo-"),
        (Bend::Status(400), "answers /v1/completions with 400: bent"),
        (Bend::Status(401), "does not accept the token"),
    ] {
        // Alone: others might be faster, and leave it nothing to answer.
        let bent = Bent::new(&[bend; 12]);
        let error = sample(&connect(&[&bent], folder.path())).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(&bent.url), "{bend:?}: {error}");
    }
}

#[test]
fn servers_that_never_work_end_the_step() {
    let folder = tempfile::tempdir().unwrap();
    let bent = Bent::new(&[Bend::Status(503); 100]);
    let error = sample(&connect(&[&bent], folder.path())).unwrap_err();
    assert!(matches!(&error, FleetError::GaveUp { .. } | FleetError::NoServer { .. }), "{error}");
    assert!(error.to_string().contains("503: bent"), "{error}");
}

#[test]
fn one_server_has_to_be_there_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = ServerConfig { url: format!("http://{nobody}"), admin_url: None, token_file: None };
    let alone = FleetConfig { servers: vec![nobody.clone()], ..config(&[]) };
    let error = Fleet::connect(&alone, folder.path()).unwrap_err();
    assert!(matches!(&error, FleetError::Unreachable { .. }), "{error}");
    let good = Bent::new(&[]);
    let mut both = config(&[&good]);
    both.servers.push(nobody);
    let fleet = Fleet::connect(&both, folder.path()).unwrap();
    publish(&fleet, 0).unwrap();
    assert_eq!(sample(&fleet).unwrap().len(), GROUPS as usize * 3);
    let twice = config(&[&good, &good]);
    let error = Fleet::connect(&twice, folder.path()).unwrap_err().to_string();
    assert!(error.contains("each server once"), "{error}");
}

/// It was restarted, and has no adapters.
#[test]
fn a_server_that_comes_back_gets_the_policy_again() {
    let folder = tempfile::tempdir().unwrap();
    let bent = Bent::new(&[]);
    let fleet = connect(&[&bent], folder.path());
    let first = sample(&fleet).unwrap();
    bent.adapters.lock().unwrap().clear();
    assert_eq!(sample(&fleet).unwrap(), first);
    let loads = bent.paths().iter().filter(|path| *path == "/v1/load_lora_adapter").count();
    assert_eq!(loads, 2);
}

#[test]
fn every_version_has_its_name_and_the_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let (bent, policies) = (Bent::new(&[]), folder.path().join("policies"));
    let fleet = connect(&[&bent], &policies);
    let mut names = Vec::new();
    for version in 0..4 {
        publish(&fleet, version).unwrap();
        sample(&fleet).unwrap();
        let adapters = bent.adapters.lock().unwrap().clone();
        assert_eq!(adapters.len(), 1, "{adapters:?}");
        assert!(std::fs::read_dir(&policies).unwrap().count() <= 2);
        names.extend(adapters);
    }
    names.dedup();
    assert_eq!(names.len(), 4);
    let salts: Vec<Value> = bent
        .seen
        .lock()
        .unwrap()
        .iter()
        .filter(|(path, _)| path == "/v1/completions")
        .map(|(_, body)| body["cache_salt"].clone())
        .collect();
    assert!(names.iter().all(|name| salts.contains(&json!(name))), "the cache is salted by the version");
    drop(fleet);
    assert!(bent.adapters.lock().unwrap().is_empty() && !policies.exists(), "nothing is left");
}

#[test]
fn a_policy_that_cannot_be_loaded_is_an_error_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let bent = Bent::new(&[]);
    let fleet = Fleet::connect(&config(&[&bent]), folder.path()).unwrap();
    fleet.publish(0, PolicyKind::Adapter, &|_| Ok(())).unwrap();
    let error = sample(&fleet).unwrap_err().to_string();
    assert!(error.contains("No adapter found") && error.contains("rollouts.folder"), "{error}");
    let error =
        fleet.publish(1, PolicyKind::Adapter, &|_| Err("the disk is full".into())).unwrap_err().to_string();
    assert!(error.contains("the disk is full") && error.contains("checkpoint"), "{error}");
}

/// Neither in errors nor where the server's errors are quoted, and no other host gets it.
#[test]
fn a_token_does_not_leak() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hunter2\n").unwrap();
    let bent = Bent::new(&[Bend::Status(302)]);
    let mut config = config(&[&bent]);
    config.servers[0].token_file = Some(token.clone());
    let fleet = Fleet::connect(&config, &folder.path().join("policies")).unwrap();
    publish(&fleet, 0).unwrap();
    let error = sample(&fleet).unwrap_err();
    for shown in [format!("{error}"), format!("{error:?}"), format!("{fleet:?}"), format!("{config:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    std::fs::write(&token, " \n").unwrap();
    let error = Fleet::connect(&config, folder.path()).unwrap_err().to_string();
    assert!(error.contains("it is empty"), "{error}");
}

#[test]
fn what_cannot_be_sampled_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let fleet = connect(&[&Bent::new(&[])], folder.path());
    fleet.check(&Sampling::default(), 8, 64, 100).unwrap();
    let error = fleet.check(&Sampling::default(), 8, 65, 100).unwrap_err().to_string();
    assert!(error.contains("takes 64 tokens") && error.contains("--max-model-len 65"), "{error}");
    let error = fleet.check_tied_head().unwrap_err().to_string();
    assert!(error.contains("keeps the old output head") && error.contains("train adapters"), "{error}");
    for url in ["10.0.0.1:80", "ftp://a", "", "http://"] {
        let server = ServerConfig { url: url.to_string(), admin_url: None, token_file: None };
        let error =
            Fleet::connect(&FleetConfig { servers: vec![server], ..config(&[]) }, folder.path()).unwrap_err();
        assert!(matches!(error, FleetError::Url { .. }), "{url}: {error}");
    }
    assert!(
        Fleet::connect(&config(&[]), folder.path()).unwrap_err().to_string().contains("at least one server")
    );
}
