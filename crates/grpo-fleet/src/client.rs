//! Requests to one server.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{HeaderValue, Uri};
use ureq::{Agent, Body, RequestBuilder};

use crate::{FleetError, ServerConfig};

/// The time limit for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The time limit for what needs no time.
const BRIEF: Duration = Duration::from_secs(10);
/// The time after which a server that has not answered is asked whether it is there.
const WATCH: Duration = Duration::from_secs(5);
/// The largest answer, in bytes.
const MOST: u64 = 1 << 30;
/// What is shown of a server's text, in characters.
const SHOWN: usize = 300;

/// A server that can be asked.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    url: String,
    admin_url: String,
    token: Option<String>,
    authorization: Option<HeaderValue>,
}

/// Without the token.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(config: &ServerConfig, timeout: Duration) -> Result<Self, FleetError> {
        let ServerConfig { url, admin_url, token_file } = config;
        let (token, authorization) = token_file.as_deref().map(read_token).transpose()?.unzip();
        let agent = Agent::config_builder()
            // Another host must not get the token.
            .max_redirects(0)
            .proxy(None)
            .http_status_as_error(false)
            // A server may close a connection between two steps, and a request that is sent then would fail.
            .max_idle_connections(0)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(timeout))
            .user_agent(concat!("grpo-fleet/", env!("CARGO_PKG_VERSION")))
            .build();
        let admin_url = admin_url.as_ref().unwrap_or(url);
        let (url, admin_url) = (checked(url)?, checked(admin_url)?);
        Ok(Self { agent: agent.into(), url, admin_url, token, authorization })
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The answer of a path that needs no time.
    pub(crate) fn get(&self, path: &str) -> Result<Vec<u8>, FleetError> {
        self.get_at(&self.url, path)
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, FleetError> {
        self.send(&self.url, path, body)
    }

    /// The same for a request that takes long, which is given up when the server is no longer there: one that shuts down keeps its
    /// connections open, but accepts no others.
    pub(crate) fn post_watched(&self, path: &'static str, body: Vec<u8>) -> Result<Vec<u8>, FleetError> {
        let (client, (sender, answer)) = (self.clone(), channel());
        // It cannot be interrupted, and ends by its time limit. Nobody may be waiting for it any more.
        std::thread::spawn(move || drop(sender.send(client.post(path, &body))));
        let mut missed = 0;
        loop {
            match answer.recv_timeout(WATCH) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = "its request ended by itself".to_string();
                    return Err(FleetError::Unreachable { server: self.url.clone(), reason });
                }
                Err(RecvTimeoutError::Timeout) => match self.get("/health") {
                    Err(error @ FleetError::Unreachable { .. }) if missed > 0 => return Err(error),
                    Err(FleetError::Unreachable { .. }) => missed += 1,
                    _ => missed = 0,
                },
            }
        }
    }

    /// The same at the address of the routes that replace all weights.
    pub(crate) fn administer(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, FleetError> {
        self.send(&self.admin_url, path, body)
    }

    /// The answer of a path at that address, where a server has it.
    pub(crate) fn look_up(&self, path: &str) -> Result<Option<Vec<u8>>, FleetError> {
        match self.get_at(&self.admin_url, path) {
            Err(FleetError::Status { status: 404, .. }) => Ok(None),
            read => read.map(Some),
        }
    }

    /// A request that needs no time.
    pub(crate) fn post_briefly(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, FleetError> {
        let request = self.authorized(self.agent.post(format!("{}{path}", self.url)));
        let request = request.config().timeout_global(Some(BRIEF)).build();
        self.read(&self.url, path, request.header(CONTENT_TYPE, "application/json").send(body))
    }

    fn get_at(&self, url: &str, path: &str) -> Result<Vec<u8>, FleetError> {
        let request = self.authorized(self.agent.get(format!("{url}{path}")));
        self.read(url, path, request.config().timeout_global(Some(BRIEF)).build().call())
    }

    fn send(&self, url: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, FleetError> {
        let request = self.authorized(self.agent.post(format!("{url}{path}")));
        self.read(url, path, request.header(CONTENT_TYPE, "application/json").send(body))
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    fn read(
        &self,
        url: &str,
        path: &str,
        answer: Result<ureq::http::Response<Body>, ureq::Error>,
    ) -> Result<Vec<u8>, FleetError> {
        let server = || url.to_string();
        let unreachable =
            |error: ureq::Error| FleetError::Unreachable { server: server(), reason: error.to_string() };
        let mut answer = answer.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(unreachable)?;
        match status.as_u16() {
            200..=299 => Ok(body),
            401 => Err(FleetError::Token { server: server() }),
            status => {
                let text = self.shown(&String::from_utf8_lossy(&body));
                Err(FleetError::Status { server: server(), path: path.to_string(), status, text })
            }
        }
    }

    /// A server's text in one line, without what would control a terminal, and without the token.
    fn shown(&self, text: &str) -> String {
        let message = serde_json::from_str::<serde_json::Value>(text).ok();
        let message = message.as_ref().and_then(|value| value["error"]["message"].as_str()).unwrap_or(text);
        let message = self.token.as_ref().map_or(message.to_string(), |token| message.replace(token, "***"));
        let plain = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        plain.take(SHOWN).collect::<String>().trim().to_string()
    }
}

/// An address without a slash at its end, and without a password, which would be shown.
fn checked(url: &str) -> Result<String, FleetError> {
    // Clients of OpenAI's protocol write the version behind it.
    let url = url.trim_end_matches('/').trim_end_matches("/v1");
    let uri: Option<Uri> = url.parse().ok();
    let is_web = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
    };
    match uri.filter(is_web) {
        Some(_) => Ok(url.to_string()),
        None => Err(FleetError::Url { url: url.to_string() }),
    }
}

/// A token, and the header that sends it.
fn read_token(path: &Path) -> Result<(String, HeaderValue), FleetError> {
    let failed = |reason: String| FleetError::TokenFile { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(failed("it is empty: write the server's token into it".to_string()));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| failed("its token has characters that no header can have".to_string()))?;
    value.set_sensitive(true);
    Ok((token.to_string(), value))
}
