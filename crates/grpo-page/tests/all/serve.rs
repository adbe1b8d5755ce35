//! The server, as a browser and a hostile page meet it.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use grpo_page::{PageError, Server};
use serde_json::json;

use crate::common::{run_folder, unpack};

/// A server of one run, which ends with the test.
struct Served {
    address: String,
}

impl Served {
    fn new(folder: &Path) -> Self {
        let server = Server::bind(&[folder.into()], 0).unwrap();
        let address = server.address().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        std::thread::spawn(|| server.serve());
        Self { address }
    }

    /// The status and the body of an answer.
    fn get(&self, path: &str, host: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer.split_off(end + 4))
    }

    fn own(&self, path: &str) -> (u16, Vec<u8>) {
        self.get(path, &self.address)
    }
}

#[test]
fn a_run_in_progress_is_followed() {
    let folder = run_folder(2, |_| "wrong".into());
    let served = Served::new(folder.path());
    let (status, page) = served.own("/");
    let page = String::from_utf8(page).unwrap();
    assert!(status == 200 && page.contains("connect-src 'self'") && !page.contains("id=\"data-runs\""));
    let steps = || unpack(&served.own("/data/runs").1)[0]["steps"].clone();
    let indexed = || unpack(&served.own("/data/0/index").1)["step"].as_array().unwrap().len();
    assert_eq!((steps(), indexed()), (json!([1, 2]), 12));
    assert_eq!(unpack(&served.own("/data/0/step/2").1)["groups"][1]["problem"], 11);
    assert_eq!(served.own("/data/0/step/3").0, 404);
    let longer = run_folder(3, |_| "wrong".into());
    for name in ["metrics.jsonl", "completions.jsonl"] {
        let text = std::fs::read_to_string(longer.path().join(name)).unwrap();
        let old = std::fs::metadata(folder.path().join(name)).unwrap().len() as usize;
        let mut file = OpenOptions::new().append(true).open(folder.path().join(name)).unwrap();
        // The last line is being written.
        file.write_all(&text.as_bytes()[old..text.len() - 1]).unwrap();
        served.own("/data/0/index");
        file.write_all(b"\n").unwrap();
    }
    assert_eq!((steps(), indexed()), (json!([1, 2, 3]), 18));
    assert_eq!(unpack(&served.own("/data/0/step/3").1)["groups"][0]["completions"][1]["text"], "wrong");
}

#[test]
fn other_hosts_and_paths_are_refused() {
    let folder = run_folder(1, |_| "wrong".into());
    let served = Served::new(folder.path());
    assert!(served.address.starts_with("127.0.0.1:"));
    let port = served.address.split_once(':').unwrap().1;
    assert_eq!(served.get("/data/runs", &format!("localhost:{port}")).0, 200);
    for host in ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:1", ""] {
        assert_eq!(served.get("/data/runs", host).0, 403, "{host}");
    }
    for path in ["/run.json", "/data/../run.json", "/data/1/index", "/data/0/step/x", "/data/0/step/-1", "//"]
    {
        assert_eq!(served.own(path).0, 404, "{path}");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let folder = run_folder(1, |_| "wrong".into());
    let served = Served::new(folder.path());
    let port = served.address.split_once(':').unwrap().1.parse().unwrap();
    let error = Server::bind(&[folder.path().into()], port).err().unwrap();
    assert!(matches!(error, PageError::Port { .. }) && error.to_string().contains("--port"), "{error}");
}

#[test]
fn a_run_that_begins_again_at_an_earlier_step_is_read_anew() {
    let folder = run_folder(3, |_| "first".into());
    let served = Served::new(folder.path());
    let indexed = || unpack(&served.own("/data/0/index").1)["step"].as_array().unwrap().len();
    assert_eq!(indexed(), 18);
    let second = run_folder(2, |_| "the second time".into());
    std::fs::copy(second.path().join("completions.jsonl"), folder.path().join("completions.jsonl")).unwrap();
    let path = folder.path().join("run.json");
    let mut run: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let process = run["processes"][0].clone();
    run["processes"].as_array_mut().unwrap().push(process);
    std::fs::write(&path, run.to_string()).unwrap();
    assert_eq!(served.own("/data/0/step/3").0, 404);
    assert_eq!(indexed(), 12);
    let step = unpack(&served.own("/data/0/step/2").1);
    assert_eq!(step["groups"][0]["completions"][1]["text"], "the second time");
}
