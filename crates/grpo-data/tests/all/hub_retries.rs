use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use grpo_data::{Hub, HubError};

use crate::hub::{hub, model};
use crate::server::{Answer, Server};

const ID: &str = "Qwen/tiny";
const INFO: &str = "/revision/main";

/// A server that answers the first `n` requests for `path` otherwise.
fn serve(path: &'static str, n: usize, answer: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> Server {
    let (repos, left) = (model(), AtomicUsize::new(n));
    Server::start(move |request| {
        let honest = repos.answer(request);
        let take = |left: usize| left.checked_sub(1);
        let is_bent = request.path.ends_with(path)
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
        if is_bent { answer(honest) } else { honest }
    })
}

fn asked(server: &Server, path: &str) -> usize {
    server.requests().iter().filter(|request| request.path.ends_with(path)).count()
}

fn busy(status: u16, retry_after: &'static str) -> impl Fn(Answer) -> Answer + Send + Sync + 'static {
    move |_| Answer::new(status, "").with("Retry-After", retry_after)
}

#[test]
fn trouble_that_passes() {
    for path in [INFO, "/config.json", "/model.safetensors"] {
        for status in [408, 429, 500, 502, 503, 504] {
            let cache = tempfile::tempdir().unwrap();
            let server = serve(path, 2, busy(status, "0"));
            hub(&server, &cache).model(ID).unwrap_or_else(|error| panic!("{path} {status}: {error}"));
        }
    }
}

#[test]
fn a_connection_that_breaks_once() {
    let nothing = |_| Answer::new(0, "");
    let half = |honest: Answer| Answer { cut: Some(honest.body.len() / 2), ..honest };
    for path in [INFO, "/config.json"] {
        for server in [serve(path, 1, nothing), serve(path, 1, half)] {
            let cache = tempfile::tempdir().unwrap();
            hub(&server, &cache).model(ID).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }
}

#[test]
fn the_server_says_how_long_to_wait() {
    let (cache, start) = (tempfile::tempdir().unwrap(), Instant::now());
    hub(&serve(INFO, 1, busy(429, "1")), &cache).model(ID).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    // A date that has passed is now.
    let (cache, start) = (tempfile::tempdir().unwrap(), Instant::now());
    hub(&serve(INFO, 3, busy(503, "Wed, 21 Oct 2015 07:28:00 GMT")), &cache).model(ID).unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn not_for_ever() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(INFO, usize::MAX, busy(503, "0"));
    let error = hub(&server, &cache).model(ID).unwrap_err();
    assert!(matches!(error, HubError::Status { status: 503, .. }), "{error}");
    assert_eq!(asked(&server, INFO), 6);
}

#[test]
fn a_long_wait_is_left_to_the_user() {
    let cache = tempfile::tempdir().unwrap();
    let server = serve(INFO, 1, busy(429, "400"));
    let error = hub(&server, &cache).model(ID).unwrap_err();
    assert!(error.to_string().contains("try again in 400 seconds"), "{error}");
    assert_eq!(asked(&server, INFO), 1);
}

#[test]
fn what_waiting_does_not_help() {
    for status in [400, 401, 403, 404, 410, 451] {
        let cache = tempfile::tempdir().unwrap();
        let server = serve(INFO, usize::MAX, busy(status, "0"));
        hub(&server, &cache).model(ID).unwrap_err();
        assert_eq!(asked(&server, INFO), 1, "{status}");
    }
    let start = Instant::now();
    Hub::new("cache").with_endpoint("http://[::1").model(ID).unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(200));
}
