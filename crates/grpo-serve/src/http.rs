//! The server: connections, tokens, and which route answers.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grpo_qwen2::ChatTokenizer;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tiny_http::{Header, Request, Response};

use crate::routes::{Route, plain};
use crate::{ApiError, ServeError, Worker};

/// A server of a model.
pub struct Server {
    http: tiny_http::Server,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the threads of requests share.
pub(crate) struct Shared {
    pub(crate) worker: Worker,
    pub(crate) text: ChatTokenizer,
    /// The version of the weights, as the trainer names it.
    pub(crate) weight_version: Mutex<String>,
    /// Requests so far.
    pub(crate) count: AtomicUsize,
    token: Option<Token>,
    /// What the header `Host` of a program of this machine says.
    hosts: Vec<String>,
    /// Requests that are being answered.
    open: AtomicUsize,
}

/// What requests have to bring (`Authorization: Bearer …`). Only its hash is kept, which takes as long to compare for any other.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// A token that is in a file, with white space around it.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let failed = |reason: String| ServeError::TokenFile { path: path.to_owned(), reason };
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        match text.trim() {
            "" => Err(failed(
                "it is empty: write a token into it, such as one of `openssl rand -hex 32`".into(),
            )),
            token => Ok(Self::new(token)),
        }
    }

    fn new(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// The longest body that is read to its end although it is refused, in bytes.
const MOST_DRAINED: usize = 64 << 20;
/// The most requests that are answered at once; each has a thread.
const MOST_OPEN: usize = 512;

impl Server {
    /// A server at an address, whose port may be 0 for any that is free. Without a token, the address must be one of this machine
    /// alone.
    pub fn bind(
        worker: Worker,
        text: ChatTokenizer,
        address: SocketAddr,
        token: Option<Token>,
    ) -> Result<Self, ServeError> {
        let is_local = address.ip().is_loopback();
        if token.is_none() && !is_local {
            return Err(ServeError::NoToken { address });
        }
        let failed = |cause: String| ServeError::Address { address, cause };
        let http = tiny_http::Server::http(address).map_err(|error| failed(error.to_string()))?;
        let bound = http.server_addr().to_ip().ok_or_else(|| failed("it has no port".into()))?;
        let mut hosts: Vec<String> = Vec::new();
        for host in [bound.ip().to_string(), format!("[{}]", bound.ip()), "localhost".to_string()] {
            hosts.extend([format!("{host}:{}", bound.port()), host]);
        }
        let shared = Shared {
            worker,
            text,
            weight_version: Mutex::new("default".to_string()),
            count: AtomicUsize::new(0),
            token,
            hosts,
            open: AtomicUsize::new(0),
        };
        Ok(Self { http, address: bound, shared: Arc::new(shared) })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests, without an end.
    pub fn serve(mut self) -> io::Result<()> {
        loop {
            let request = match self.http.recv() {
                Ok(request) => request,
                // tiny_http accepts nothing after an error, such as too many open files.
                Err(error) => {
                    tracing::warn!("{error}; listening again");
                    self.listen_again();
                    continue;
                }
            };
            if request.body_length().is_some_and(|length| length > MOST_DRAINED) {
                // tiny_http would read the rest of the body into memory before it forgets the request.
                std::mem::forget(request);
                continue;
            }
            let shared = self.shared.clone();
            if shared.open.fetch_add(1, Ordering::Relaxed) >= MOST_OPEN {
                shared.open.fetch_sub(1, Ordering::Relaxed);
                refuse(
                    request,
                    &ApiError::new(503, format!("{MOST_OPEN} requests are being answered: try again")),
                );
                continue;
            }
            std::thread::spawn(move || {
                let _open = Open(&shared);
                shared.answer(request);
            });
        }
    }

    fn listen_again(&mut self) {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            match tiny_http::Server::http(self.address) {
                Ok(http) => {
                    self.http = http;
                    return;
                }
                Err(error) => tracing::warn!("{}: {error}", self.address),
            }
        }
    }
}

/// A request that is being answered.
struct Open<'a>(&'a Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn answer(&self, request: Request) {
        let path = request.url().split('?').next().unwrap_or_default();
        // Whether the server is there is no secret.
        let checked = if path == "/health" { Ok(()) } else { self.check(&request) };
        let found = checked.and_then(|()| Route::of(request.method(), path));
        match found {
            // A client that has gone needs no answer.
            Ok(route) => drop(route.answer(self, request)),
            Err(error) => refuse(request, &error),
        }
    }

    /// Whether the request may be answered.
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let header = |name: &'static str| {
            let found = request.headers().iter().find(|header| header.field.equiv(name));
            found.map(|header| header.value.as_str())
        };
        let Some(token) = &self.token else {
            // A page of another host, whose name has been made to point here, must not use the model.
            let is_here = header("Host")
                .is_some_and(|host| self.hosts.iter().any(|own| host.eq_ignore_ascii_case(own)));
            let is_page = header("Origin").is_some();
            return match is_here && !is_page {
                true => Ok(()),
                false => Err(ApiError::new(
                    403,
                    "without a token, this server answers programs of its own machine alone",
                )),
            };
        };
        let given = header("Authorization").and_then(|value| value.strip_prefix("Bearer "));
        match given.map(|given| Token::new(given.trim())) {
            Some(given) if given == *token => Ok(()),
            _ => Err(ApiError::new(
                401,
                "the token is missing or wrong: send it as `Authorization: Bearer TOKEN`",
            )),
        }
    }
}

/// Answers with an error.
pub(crate) fn refuse(request: Request, error: &ApiError) {
    // A client that has gone needs no answer.
    let _ = request.respond(json(error.status, &error.body()));
}

pub(crate) fn json(status: u16, body: &Value) -> Response<io::Cursor<Vec<u8>>> {
    let header = Header::from_bytes("Content-Type", "application/json").expect("it is ASCII");
    plain(status, &body.to_string()).with_header(header)
}
