//! GET requests to the Hub, with redirects.
//!
//! Names, URLs and the layout of the cache come from hf-hub, but downloads do not. Its downloads (0.5.0) send the
//! token to the host that the Hub redirects to, can repeat the beginning of a file when a resumed download is
//! interrupted again, compare no sizes, have no timeouts, and follow a redirect to itself forever.

use std::fmt;
use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, ETAG, LOCATION, RANGE};
use ureq::http::{HeaderValue, Response, Uri};
use ureq::{Agent, Body};

use super::HubError;
use super::headers::{asked_pause, text};
use super::repo::Repo;

const MAX_REDIRECTS: usize = 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that delivers nothing for this long counts as broken.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// An access token that can be sent but not shown.
#[derive(Clone)]
pub(super) struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// A response with a body, after all redirects.
pub(super) struct Reply {
    pub(super) response: Response<Body>,
    /// Identifies the file's content: the Hub's own ETag, not that of the storage it redirects to.
    pub(super) etag: Option<String>,
    /// The file's length, if the Hub states it before it redirects.
    pub(super) linked_size: Option<u64>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        text(self.response.headers(), name)
    }
}

/// Sends requests to one Hub.
pub(super) struct Client<'a> {
    agent: Agent,
    endpoint: &'a str,
    origin: Uri,
    authorization: Option<HeaderValue>,
}

impl<'a> Client<'a> {
    pub(super) fn new(endpoint: &'a str, token: Option<&Token>) -> Result<Self, HubError> {
        let origin: Option<Uri> = endpoint.parse().ok();
        let is_web =
            |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
        let Some(origin) = origin.filter(is_web) else {
            return Err(HubError::Endpoint { endpoint: endpoint.to_owned() });
        };
        let authorization = token.map(|Token(token)| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| HubError::Token)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .accept_encoding("identity") // a compressed response has a different length than the file
            .user_agent(concat!("grpo-data/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(READ_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build();
        Ok(Self { agent: config.into(), endpoint, origin, authorization: authorization.transpose()? })
    }

    /// Gets `path` from the Hub, or a range of its bytes. `what` is for errors.
    pub(super) fn get(
        &self,
        repo: &Repo,
        what: &str,
        path: &str,
        range: Option<&str>,
    ) -> Result<Reply, HubError> {
        let mut url = format!("{}/{path}", self.endpoint);
        let (mut etag, mut linked_size) = (None, None);
        for _ in 0..=MAX_REDIRECTS {
            let uri: Uri = url.parse().map_err(|_| self.protocol(what, "a redirect to no URL"))?;
            let at_home = same_origin(&uri, &self.origin);
            let response = self.send(what, &uri, range, at_home)?;
            if at_home {
                let headers = response.headers();
                etag = text(headers, "x-linked-etag")
                    .or_else(|| text(headers, ETAG.as_str()))
                    .map(str::to_owned)
                    .or(etag);
                linked_size =
                    text(headers, "x-linked-size").and_then(|size| size.parse().ok()).or(linked_size);
            }
            if !response.status().is_redirection() {
                self.check_status(repo, what, &response, at_home)?;
                let etag = etag.or_else(|| text(response.headers(), ETAG.as_str()).map(str::to_owned));
                return Ok(Reply { response, etag, linked_size });
            }
            let location = text(response.headers(), LOCATION.as_str());
            let location = location.ok_or_else(|| self.protocol(what, "a redirect to nowhere"))?;
            url = join(&uri, location);
        }
        Err(self.protocol(what, "too many redirects"))
    }

    /// A response that no Hub gives.
    pub(super) fn protocol(&self, what: &str, reason: impl Into<String>) -> HubError {
        HubError::Protocol {
            what: what.to_owned(),
            endpoint: self.endpoint.to_owned(),
            reason: reason.into(),
        }
    }

    pub(super) fn not_found(&self, what: &str) -> HubError {
        HubError::NotFound { what: what.to_owned(), endpoint: self.endpoint.to_owned() }
    }

    pub(super) fn connection(&self, what: &str, cause: ureq::Error) -> HubError {
        HubError::Connection {
            what: what.to_owned(),
            endpoint: self.endpoint.to_owned(),
            cause: Box::new(cause),
        }
    }

    fn send(
        &self,
        what: &str,
        uri: &Uri,
        range: Option<&str>,
        at_home: bool,
    ) -> Result<Response<Body>, HubError> {
        let mut request = self.agent.get(uri);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        // The token is only for the Hub, not for the storage it redirects to.
        if at_home && let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.call().map_err(|cause| self.connection(what, cause))
    }

    fn check_status(
        &self,
        repo: &Repo,
        what: &str,
        response: &Response<Body>,
        at_home: bool,
    ) -> Result<(), HubError> {
        match response.status().as_u16() {
            200 | 206 => Ok(()),
            status @ (401 | 403) if at_home => Err(HubError::Denied {
                what: what.to_owned(),
                status,
                page: format!("{}/{}", self.endpoint, repo.url()),
                token: match self.authorization {
                    Some(_) => "the token that was given has no access: check HF_TOKEN or the token file",
                    None => "then put a token of your account into HF_TOKEN",
                },
            }),
            404 if text(response.headers(), "x-error-code") == Some("RevisionNotFound") => {
                Err(self.not_found(&repo.describe_revision()))
            }
            404 => Err(self.not_found(what)),
            status => {
                let retry_after = asked_pause(response.headers());
                Err(HubError::Status { what: what.to_owned(), status, retry_after })
            }
        }
    }
}

fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port =
        |uri: &Uri| uri.port_u16().or(if uri.scheme_str() == Some("https") { Some(443) } else { Some(80) });
    // The Hub's short name redirects to its long one.
    let host =
        |uri: &Uri| uri.host().map(|host| if host == "hf.co" { "huggingface.co" } else { host }.to_owned());
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// Where a redirect leads; the Hub sends whole URLs and absolute paths.
fn join(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("https");
    if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        let authority = base.authority().map_or("", |authority| authority.as_str());
        format!("{scheme}://{authority}{location}")
    } else {
        location.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let check =
            |a: &str, b: &str, same| assert_eq!(same_origin(&a.parse().unwrap(), &b.parse().unwrap()), same);
        check("https://hub.co/a", "https://hub.co:443/b?c", true);
        check("https://hf.co/a", "https://huggingface.co/b", true);
        check("https://hf.co/a", "https://cdn-lfs.hf.co/a", false);
        check("https://hub.co/a", "http://hub.co/a", false);
        check("http://hub.co:8000/a", "http://hub.co:8001/a", false);
        check("https://hub.co/a", "https://cdn.hub.co/a", false);
        check("https://hub.co/a", "https://hub.co.evil.org/a", false);
        check("https://hub.co/a", "https://hub.co@evil.org/a", false);
    }

    #[test]
    fn redirects_are_joined() {
        let base: Uri = "http://hub.co:80/a/b".parse().unwrap();
        assert_eq!(join(&base, "/c?d"), "http://hub.co:80/c?d");
        assert_eq!(join(&base, "//cdn.co/c"), "http://cdn.co/c");
        assert_eq!(join(&base, "https://cdn.co/c"), "https://cdn.co/c");
    }
}
