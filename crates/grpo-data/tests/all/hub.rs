use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use grpo_data::{Columns, Error, Hub, HubError, LoadError, Split};

use crate::parquet::write_truths;
use crate::server::{Answer, COMMIT, Repos, Request, Server, hash};

const ID: &str = "Qwen/tiny";

pub(crate) fn model() -> Repos {
    Repos::default()
        .file("Qwen/tiny/README.md", "# tiny")
        .file("Qwen/tiny/config.json", "{}")
        .file("Qwen/tiny/generation_config.json", "{ }")
        .file("Qwen/tiny/tokenizer.json", "{  }")
        .file("Qwen/tiny/tokenizer_config.json", "{   }")
        .file("Qwen/tiny/model.safetensors", weights())
}

/// More than one chunk, and no two places alike.
pub(crate) fn weights() -> Vec<u8> {
    (0..250_000u32).flat_map(u32::to_le_bytes).collect()
}

pub(crate) fn serve(repos: Repos) -> Server {
    Server::start(move |request| repos.answer(request))
}

pub(crate) fn hub(server: &Server, cache: &tempfile::TempDir) -> Hub {
    Hub::new(cache.path()).with_endpoint(server.url())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The first bytes asked for, without the requests that ask for the length.
fn starts(server: &Server, file: &str) -> Vec<usize> {
    let asked = |request: &Request| request.path.ends_with(file) && !request.is_probe;
    server.requests().iter().filter(|request| asked(request)).map(|request| request.start.unwrap()).collect()
}

#[test]
fn a_model_then_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(model());
    let folder = hub(&server, &cache).model(ID).unwrap();
    let expected = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names(&folder), expected);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert!(folder.ends_with(format!("models--Qwen--tiny/snapshots/{COMMIT}")));

    let hub = hub(&server, &cache);
    drop(server);
    assert_eq!(hub.model(ID).unwrap(), folder);
    assert_eq!(hub.with_offline(true).model(ID).unwrap(), folder);
}

#[test]
fn a_moved_cache_still_works() {
    let (cache, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    hub(&serve(model()), &cache).model(ID).unwrap();
    let moved = other.path().join("moved");
    fs::rename(cache.path(), &moved).unwrap();
    let folder = Hub::new(moved).with_offline(true).model(ID).unwrap();
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"{}");
}

#[test]
fn a_model_of_several_weight_files() {
    let cache = tempfile::tempdir().unwrap();
    let index = r#"{"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"}}"#;
    let repos = Repos::default()
        .file("a/b/config.json", "{}")
        .file("a/b/tokenizer.json", "{ }")
        .file("a/b/tokenizer_config.json", "{  }")
        .file("a/b/model.safetensors.index.json", index)
        .file("a/b/m-1.safetensors", "one")
        .file("a/b/m-2.safetensors", "two");
    let server = serve(repos);
    let folder = hub(&server, &cache).model("a/b").unwrap();
    assert_eq!(fs::read(folder.join("m-2.safetensors")).unwrap(), b"two");

    fs::remove_file(folder.join("m-2.safetensors")).unwrap();
    let error = hub(&server, &cache).with_offline(true).model("a/b").unwrap_err();
    assert!(error.to_string().contains("m-2.safetensors"), "{error}");
    // The blob is still there: only its link is made anew.
    assert_eq!(hub(&server, &cache).model("a/b").unwrap(), folder);
    assert_eq!(starts(&server, "m-2.safetensors"), [0]);
}

#[test]
fn progress_goes_up_to_the_announced_length() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(model());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let hub = hub(&server, &cache)
        .with_progress(move |t| heard.lock().unwrap().push((t.file.to_owned(), t.done, t.total)));
    hub.model(ID).unwrap();
    let seen = seen.lock().unwrap();
    let weights: Vec<_> = seen.iter().filter(|(file, ..)| file == "model.safetensors").collect();
    assert!(weights.is_sorted() && weights.len() > 2);
    assert_eq!((weights[0].1, weights[0].2), (0, 1_000_000));
    assert_eq!(weights.last().unwrap().1, 1_000_000);
    assert!(seen.iter().any(|(file, ..)| file == "config.json"));
}

#[test]
fn the_token_stays_with_the_hub() {
    let cache = tempfile::tempdir().unwrap();
    let repos = model();
    let storage = Server::start({
        let repos = repos.clone();
        move |request| {
            let mut answer = repos.answer(request);
            answer.headers.retain(|(name, _)| *name == "Content-Range"); // storages know nothing of commits
            answer.with("ETag", "\"of-the-storage\"")
        }
    });
    let (to, etag) = (storage.url(), hash(&weights()));
    let server = Server::start(move |request| {
        if request.authorization.as_deref() != Some("Bearer hf_secret") {
            Answer::new(401, "")
        } else if request.path.ends_with("model.safetensors") {
            Answer::redirect(format!("{to}{}", request.path)).with("X-Linked-Etag", format!("\"{etag}\""))
        } else {
            repos.answer(request)
        }
    });
    let folder = hub(&server, &cache).with_token(" hf_secret\n").model(ID).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(storage.requests().len(), 2);
    assert!(storage.requests().iter().all(|request| request.authorization.is_none()));
    assert!(cache.path().join("models--Qwen--tiny/blobs").join(hash(&weights())).is_file());
}

#[test]
fn redirects_within_the_hub_keep_the_token() {
    let cache = tempfile::tempdir().unwrap();
    let repos = model();
    let server = Server::start(move |request| match request.path.replace("Old/name", "Qwen/tiny") {
        _ if request.authorization.is_none() => Answer::new(401, ""),
        path if path != request.path => Answer::redirect(path),
        _ => repos.answer(request),
    });
    let folder = hub(&server, &cache).with_token("hf_secret").model("Old/name").unwrap();
    assert!(folder.join("config.json").is_file());
}

#[test]
fn a_cut_download_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let (repos, n_cuts) = (model(), AtomicUsize::new(0));
    let server = Server::start(move |request| {
        let mut answer = repos.answer(request);
        let is_weights = request.path.ends_with("model.safetensors") && !request.is_probe;
        if is_weights && n_cuts.fetch_add(1, Ordering::SeqCst) < 2 {
            answer.cut = Some(300_000);
        }
        answer
    });
    let folder = hub(&server, &cache).model(ID).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(starts(&server, "model.safetensors"), [0, 300_000, 600_000]);
}

/// A server that stops in the middle of the weights, for good.
pub(crate) fn serve_partly(length: usize) -> Server {
    let (repos, n_requests) = (model(), AtomicUsize::new(0));
    Server::start(move |request| {
        let mut answer = repos.answer(request);
        if request.path.ends_with("model.safetensors") {
            match n_requests.fetch_add(1, Ordering::SeqCst) {
                0 => {}
                1 => answer.cut = Some(length),
                _ => return Answer::new(410, ""),
            }
        }
        answer
    })
}

#[test]
fn another_process_goes_on_too() {
    let cache = tempfile::tempdir().unwrap();
    let error = hub(&serve_partly(400_000), &cache).model(ID).unwrap_err();
    assert!(matches!(error, HubError::Status { status: 410, .. }), "{error}");
    let server = serve(model());
    let folder = hub(&server, &cache).model(ID).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
    assert_eq!(starts(&server, "model.safetensors"), [400_000]);
    assert_eq!(starts(&server, "config.json"), [] as [usize; 0]);
}

#[test]
fn a_part_that_is_whole_or_too_long() {
    for (part, asked) in [(weights(), vec![]), (vec![7; 2_000_000], vec![0])] {
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("models--Qwen--tiny/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.part", hash(&weights()))), part).unwrap();
        let server = serve(model());
        let folder = hub(&server, &cache).model(ID).unwrap();
        assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
        assert_eq!(starts(&server, "model.safetensors"), asked);
    }
}

#[test]
fn a_part_that_was_damaged_is_fetched_anew() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = cache.path().join("models--Qwen--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.part", hash(&weights())));
    fs::write(&part, [7; 1000]).unwrap();
    let server = serve(model());
    let error = hub(&server, &cache).model(ID).unwrap_err();
    assert!(matches!(error, HubError::Hash { .. }) && !part.exists(), "{error}");
    let folder = hub(&server, &cache).model(ID).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn a_server_without_ranges() {
    let cache = tempfile::tempdir().unwrap();
    hub(&serve_partly(400_000), &cache).model(ID).unwrap_err();
    let repos = model();
    let server = Server::start(move |request| {
        repos.answer(&Request { start: None, is_probe: false, ..request.clone() })
    });
    let folder = hub(&server, &cache).model(ID).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
}

#[test]
fn two_at_once_download_once() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(model());
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| hub(&server, &cache).model(ID).unwrap())).collect();
        threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
    });
    assert_eq!(starts(&server, "model.safetensors"), [0]);
}

fn gsm8k() -> Repos {
    let folder = tempfile::tempdir().unwrap();
    let content = |truths: &[&str]| {
        let path = folder.path().join("a.parquet");
        write_truths(&path, truths);
        fs::read(path).unwrap()
    };
    Repos::default()
        .file("datasets/openai/gsm8k/main/test-00000-of-00001.parquet", content(&["3"]))
        .file("datasets/openai/gsm8k/main/train-00000-of-00001.parquet", content(&["1", "2"]))
        .file("datasets/openai/gsm8k/socratic/train-00000-of-00001.parquet", content(&["9"]))
}

#[test]
fn a_dataset_then_from_the_cache() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(gsm8k());
    let hub = hub(&server, &cache);
    let train = hub.dataset("openai/gsm8k", &Split::train(), &Columns::default()).unwrap();
    assert_eq!(train.iter().map(|example| example.truth.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    // The cache holds `train` alone now.
    assert_eq!(hub.dataset("openai/gsm8k", &Split::test(), &Columns::default()).unwrap()[0].truth, "3");
    drop(server);
    assert_eq!(hub.dataset("openai/gsm8k", &Split::train(), &Columns::default()).unwrap(), train);
    let offline = hub.with_offline(true);
    assert_eq!(offline.dataset("openai/gsm8k", &Split::test(), &Columns::default()).unwrap().len(), 1);
}

#[test]
fn a_dataset_without_the_split() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(Repos::default().file("datasets/a/b/validation.parquet", "x"));
    let error = hub(&server, &cache).dataset("a/b", &Split::train(), &Columns::default()).unwrap_err();
    assert!(matches!(&error, Error::Load(LoadError::NoSplit { .. })), "{error}");
    let message = error.to_string();
    assert!(message.contains("the dataset `a/b`") && message.contains("validation.parquet"), "{message}");
}
