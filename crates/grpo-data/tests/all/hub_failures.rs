use std::fs;

use grpo_data::{Hub, HubError};

use crate::hub::{hub, model, serve, weights};
use crate::server::{Answer, COMMIT, Repos, Server};

const ID: &str = "Qwen/tiny";
const TOKEN: &str = "hf_secret";

/// Asks for a model while `path` of the Hub answers otherwise; returns the error.
fn bend(path: &'static str, answer: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> HubError {
    let (cache, repos) = (tempfile::tempdir().unwrap(), model());
    let server = Server::start(move |request| {
        let honest = repos.answer(request);
        if request.path.ends_with(path) { answer(honest) } else { honest }
    });
    let error = hub(&server, &cache).with_token(TOKEN).model(ID).unwrap_err();
    assert!(!cache.path().join("models--Qwen--tiny/refs").exists(), "published nevertheless");
    assert!(!format!("{error} {error:?}").contains(TOKEN));
    error
}

fn set(mut answer: Answer, name: &'static str, value: &str) -> Answer {
    answer.headers.retain(|(other, _)| *other != name);
    if value.is_empty() { answer } else { answer.with(name, value) }
}

fn check(error: HubError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn nothing_of_that_name() {
    let (cache, server) = (tempfile::tempdir().unwrap(), serve(model()));
    let error = hub(&server, &cache).model("Qwen/huge").unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }));
    check(error, &["the model `Qwen/huge`", &server.url()]);
    check(hub(&server, &cache).model("tiny").unwrap_err(), &["`tiny`", "owner/name"]);
}

#[test]
fn a_file_is_missing() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(Repos::default().file("a/b/config.json", "{}").file("a/b/tokenizer.json", "{ }"));
    let error = hub(&server, &cache).model("a/b").unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }));
    check(error, &["`tokenizer_config.json` of the model `a/b`"]);
    // Listed, but not delivered.
    check(bend("/tokenizer.json", |_| Answer::new(404, "")), &["`tokenizer.json` of the model `Qwen/tiny`"]);
}

#[test]
fn access_denied() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Answer::new(401, ""));
    let error = hub(&server, &cache).model(ID).unwrap_err();
    assert!(matches!(error, HubError::Denied { status: 401, .. }));
    check(error, &["gated", "put a token", "HF_TOKEN", &format!("{}/Qwen/tiny", server.url())]);
    check(
        bend("/config.json", |_| Answer::new(403, "")),
        &["`config.json`", "HTTP 403", "gated", "has no access"],
    );
}

#[test]
fn no_debug_output_shows_the_token() {
    let hub = Hub::new("cache").with_token(TOKEN).with_endpoint("not a url");
    assert!(!format!("{hub:?}").contains(TOKEN));
    let error = hub.model(ID).unwrap_err();
    assert!(matches!(error, HubError::Endpoint { .. }));
    let error = Hub::new("cache").with_token(format!("{TOKEN}\n\u{7f}x")).model(ID).unwrap_err();
    assert!(matches!(error, HubError::Token));
    assert!(!format!("{error} {error:?}").contains(TOKEN));
}

#[test]
fn nobody_answers() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(model());
    let hub = hub(&server, &cache);
    let url = server.url();
    drop(server);
    let error = hub.model(ID).unwrap_err();
    assert!(matches!(error, HubError::Connection { .. }));
    check(error, &["the model `Qwen/tiny`", "cannot reach", &url, "HF_ENDPOINT"]);
}

#[test]
fn offline_and_not_cached() {
    let (cache, server) = (tempfile::tempdir().unwrap(), serve(model()));
    let hub = hub(&server, &cache).with_offline(true);
    check(hub.model(ID).unwrap_err(), &["`config.json` of the model `Qwen/tiny`", "HF_HUB_OFFLINE"]);
    assert!(server.requests().is_empty());
}

#[test]
fn trouble_is_tried_again_but_not_for_ever() {
    let error = bend("/model.safetensors", |_| Answer::new(503, ""));
    assert!(matches!(error, HubError::Status { status: 503, .. }), "{error}");
}

#[test]
fn a_connection_that_always_breaks() {
    let error = bend("/model.safetensors", |honest| Answer { cut: Some(0), ..honest });
    assert!(matches!(error, HubError::Cut { done: 0, total: 1_000_000, .. }), "{error}");
    check(error, &["`model.safetensors`", "0 of 1000000 bytes", "run again"]);
}

#[test]
fn a_connection_that_always_breaks_where_ranges_are_unknown() {
    let error = bend("/model.safetensors", |honest| match honest.body.len() {
        1 => honest, // the request for the length
        _ => Answer { cut: Some(300_000), status: 200, body: weights(), ..honest },
    });
    assert!(matches!(error, HubError::Cut { done: 300_000, .. }), "{error}");
}

#[test]
fn more_than_announced() {
    let error = bend("/config.json", |honest| {
        let body = b"{}{}".to_vec();
        if honest.body.len() == 1 { honest } else { Answer { body, ..honest } }
    });
    assert!(matches!(error, HubError::TooLong { total: 2, .. }), "{error}");
}

/// Of a small file and a large one, which have different hashes.
#[test]
fn other_bytes_than_announced() {
    for file in ["/config.json", "/model.safetensors"] {
        let error = bend(file, |mut honest| {
            *honest.body.last_mut().unwrap() ^= 1;
            honest
        });
        assert!(matches!(error, HubError::Hash { .. }), "{error}");
        check(error, &["run again", file.trim_start_matches('/')]);
    }
}

#[test]
fn answers_that_no_hub_gives() {
    check(bend("/main", |_| Answer::new(200, "<html>")), &["the model `Qwen/tiny`", "like a Hub"]);
    check(bend("/main", |_| Answer::new(200, r#"{"sha": "../../x", "siblings": []}"#)), &["commit"]);
    check(bend("/config.json", |honest| set(honest, "ETag", "")), &["`config.json`", "ETag"]);
    check(bend("/config.json", |honest| set(honest, "ETag", "\"../../../x\"")), &["ETag"]);
    check(bend("/config.json", |honest| set(honest, "Content-Range", "")), &["no length"]);
    check(bend("/config.json", |honest| set(honest, "Content-Range", "bytes 1-1/2")), &["another range"]);
    check(bend("/config.json", |_| Answer::new(302, "")), &["a redirect to nowhere"]);
    check(bend("/config.json", |_| Answer::redirect("not a url")), &["a redirect to no URL"]);
    let itself = format!("/Qwen/tiny/resolve/{COMMIT}/config.json");
    check(bend("/config.json", move |_| Answer::redirect(&itself)), &["too many redirects"]);
}

#[test]
fn an_index_that_leaves_its_folder() {
    let names = ["../evil", "/evil", "a/../../evil", "..\\\\evil", ""];
    let lists = names.map(|name| format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#));
    let broken = [r#"{"weight_map": {}}"#, r#"{"weights": {}}"#, "[]", "{"].map(str::to_owned);
    for index in lists.into_iter().chain(broken) {
        let cache = tempfile::tempdir().unwrap();
        let repos = Repos::default()
            .file("a/b/config.json", "{}")
            .file("a/b/tokenizer.json", "{ }")
            .file("a/b/tokenizer_config.json", "{  }")
            .file("a/b/../evil", "evil")
            .file("a/b/model.safetensors.index.json", index.as_str());
        let error = hub(&serve(repos), &cache).model("a/b").unwrap_err();
        assert!(matches!(error, HubError::Index { .. }), "{index}: {error}");
        check(error, &["model.safetensors.index.json"]);
    }
}

#[test]
fn a_shard_that_is_not_there() {
    let cache = tempfile::tempdir().unwrap();
    let repos = Repos::default()
        .file("a/b/config.json", "{}")
        .file("a/b/tokenizer.json", "{ }")
        .file("a/b/tokenizer_config.json", "{  }")
        .file("a/b/model.safetensors.index.json", r#"{"weight_map": {"a": "m-1.safetensors"}}"#);
    check(hub(&serve(repos), &cache).model("a/b").unwrap_err(), &["`m-1.safetensors` of the model `a/b`"]);
}

#[test]
fn a_cache_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let server = serve(model());
    let error = Hub::new(&file).with_endpoint(server.url()).model(ID).unwrap_err();
    assert!(matches!(error, HubError::Io { .. }), "{error}");
}
