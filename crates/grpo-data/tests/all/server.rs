//! A server on 127.0.0.1 that speaks the Hub's protocol; a test bends single answers in its closure.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use grpo_files::hex;
use sha1::{Digest, Sha1};
use sha2::Sha256;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// The first byte asked for; `None` asks for all.
    pub(crate) start: Option<usize>,
    /// Whether only the first byte is asked for, to learn the length.
    pub(crate) is_probe: bool,
    pub(crate) authorization: Option<String>,
}

pub(crate) struct Answer {
    /// 0 hangs up without an answer.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Closes the connection after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Sends the body in chunks, without saying its length.
    pub(crate) is_chunked: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, is_chunked: false }
    }

    pub(crate) fn redirect(location: impl Into<String>) -> Self {
        Self::new(307, "").with("Location", location)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Repositories of files; a key reads `Qwen/tiny/config.json` or `datasets/openai/gsm8k/main/train.parquet`.
#[derive(Clone, Default)]
pub(crate) struct Repos(BTreeMap<String, Vec<u8>>);

impl Repos {
    pub(crate) fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.insert(name.to_owned(), content.into());
        self
    }

    /// What the Hub answers.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let info = request.path.strip_prefix("/api/").and_then(|path| path.split_once("/revision/"));
        if let Some((repo, "main" | "v1.0" | "refs%2Fconvert%2Fparquet" | COMMIT)) = info {
            return self.info(repo.strip_prefix("models/").unwrap_or(repo));
        }
        let name = request.path.trim_start_matches('/').replace(&format!("resolve/{COMMIT}/"), "");
        let Some(content) = self.0.get(&name) else { return Answer::new(404, "Entry not found") };
        let etag = hash(content);
        let answer = match request.start {
            Some(start) if start >= content.len() => {
                return Answer::new(416, "").with("Content-Range", format!("bytes */{}", content.len()));
            }
            _ if request.is_probe => {
                Answer::new(206, &content[..1]).with("Content-Range", range(0, 1, content))
            }
            Some(start) => {
                let range = range(start, content.len(), content);
                Answer::new(206, &content[start..]).with("Content-Range", range)
            }
            None => Answer::new(200, content.clone()),
        };
        answer.with("ETag", format!("\"{etag}\"")).with("X-Repo-Commit", COMMIT)
    }

    fn info(&self, repo: &str) -> Answer {
        let names = self.0.keys().filter_map(|key| key.strip_prefix(&format!("{repo}/")));
        let siblings: Vec<String> = names.map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
        if siblings.is_empty() {
            return Answer::new(404, "Repository not found");
        }
        Answer::new(200, format!(r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#, siblings.join(",")))
    }
}

/// As on the Hub: SHA-256 of large files, git's own hash of the others.
pub(crate) fn hash(content: &[u8]) -> String {
    match content.len() {
        1000.. => hex(&Sha256::digest(content)),
        n => hex(&Sha1::new().chain_update(format!("blob {n}\0")).chain_update(content).finalize()),
    }
}

fn range(start: usize, end: usize, content: &[u8]) -> String {
    format!("bytes {start}-{}/{}", end - 1, content.len())
}

/// Stops listening when dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, log, answer) = (stop.clone(), requests.clone(), Arc::new(answer));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (log, answer) = (log.clone(), answer.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    let request = read(&stream);
                    log.lock().unwrap().push(request.clone());
                    write(&stream, answer(&request));
                });
            }
        });
        Self { address, stop, thread: Some(thread), requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, start: None, is_probe: false, authorization: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        if name.eq_ignore_ascii_case("authorization") {
            request.authorization = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("range") {
            let (start, end) = value.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            request.start = start.parse().ok();
            request.is_probe = end == "0";
        }
    }
    request
}

/// The client may have gone away; that is its right.
fn write(mut stream: &TcpStream, answer: Answer) {
    if answer.status == 0 {
        return;
    }
    let length = if answer.is_chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", answer.body.len())
    };
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n{length}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let sent = &answer.body[..answer.cut.unwrap_or(answer.body.len())];
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    if !answer.is_chunked {
        let _ = stream.write_all(sent);
        return;
    }
    for chunk in sent.chunks(100_000) {
        let _ = stream.write_all(&[format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    if answer.cut.is_none() {
        let _ = stream.write_all(b"0\r\n\r\n");
    }
}
