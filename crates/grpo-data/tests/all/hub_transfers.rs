//! What servers say, and leave unsaid, about a file.

use std::fs;

use crate::hub::{hub, model, weights};
use crate::server::{Answer, Request, Server, hash};

const ID: &str = "Qwen/tiny";

/// Fetches the model while the server's answers for one file are bent; returns that file's content.
fn fetch(file: &'static str, bend: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Vec<u8> {
    let (cache, repos) = (tempfile::tempdir().unwrap(), model().file("Qwen/tiny/generation_config.json", ""));
    let server = Server::start(move |request| {
        let honest = repos.answer(request);
        if request.path.ends_with(file) { bend(request, honest) } else { honest }
    });
    let folder = hub(&server, &cache).model(ID).unwrap_or_else(|error| panic!("{file}: {error}"));
    let left: Vec<_> = fs::read_dir(cache.path().join("models--Qwen--tiny/blobs")).unwrap().collect();
    assert!(left.iter().all(|entry| !entry.as_ref().unwrap().path().ends_with(".part")));
    fs::read(folder.join(file)).unwrap()
}

/// All of the file, as from a server that knows no ranges.
fn whole(content: Vec<u8>) -> Answer {
    let etag = format!("\"{}\"", hash(&content));
    Answer::new(200, content).with("ETag", etag)
}

#[test]
fn an_empty_file() {
    let file = "generation_config.json";
    assert!(fetch(file, |_, honest| honest).is_empty(), "a range is answered by 416");
    assert!(fetch(file, |_, _| whole(Vec::new())).is_empty(), "ranges are not known");
    assert!(fetch(file, |_, _| Answer { is_chunked: true, ..whole(Vec::new()) }).is_empty(), "nor lengths");
}

#[test]
fn a_file_whose_length_nobody_says() {
    let file = "model.safetensors";
    let chunked = |_: &Request, _| Answer { is_chunked: true, ..whole(weights()) };
    assert_eq!(fetch(file, chunked), weights());
    // `Content-Range: bytes 0-0/*`
    let unknown = |_: &Request, mut honest: Answer| {
        for (name, value) in &mut honest.headers {
            if *name == "Content-Range" {
                *value = format!("{}/*", value.split('/').next().unwrap());
            }
        }
        honest
    };
    assert_eq!(fetch(file, unknown), weights());
}

#[test]
fn a_chunked_file_that_breaks_off_is_not_taken_for_whole() {
    let breaks = std::sync::atomic::AtomicUsize::new(2);
    let content = fetch("model.safetensors", move |request, _| {
        let cut = !request.is_probe && breaks.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) > 1;
        Answer { is_chunked: true, cut: cut.then_some(300_000), ..whole(weights()) }
    });
    assert_eq!(content, weights());
}

#[test]
fn the_hub_says_length_and_hash_before_it_redirects() {
    let etag = hash(&weights());
    let storage = Server::start(|_| Answer { is_chunked: true, ..Answer::new(200, weights()) });
    let to = storage.url();
    let content = fetch("model.safetensors", move |request, _| {
        Answer::redirect(format!("{to}{}", request.path))
            .with("X-Linked-Etag", format!("\"{etag}\""))
            .with("X-Linked-Size", "1000000")
    });
    assert_eq!(content, weights());
}

#[test]
fn weak_etags() {
    let content = fetch("config.json", |_, mut honest| {
        for (name, value) in &mut honest.headers {
            if *name == "ETag" {
                *value = format!("W/{value}");
            }
        }
        honest
    });
    assert_eq!(content, b"{}");
}

/// The part of an earlier download is longer than what the server has now, and the server does not go on from there.
#[test]
fn a_part_that_the_server_does_not_know() {
    let (cache, repos) = (tempfile::tempdir().unwrap(), model());
    let blobs = cache.path().join("models--Qwen--tiny/blobs");
    fs::create_dir_all(&blobs).unwrap();
    fs::write(blobs.join(format!("{}.part", hash(&weights()))), &weights()[..400_000]).unwrap();
    let server = Server::start(move |request| match request.start {
        Some(400_000) => Answer::new(416, ""),
        _ => repos.answer(request),
    });
    let folder = hub(&server, &cache).model(ID).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights());
}
