//! What the Hub refuses, and what can go wrong on the way.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a request to the Hub, or its cache, failed. The token never appears in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// An id is not of the form `owner/name`.
    #[error("`{id}` is no id on the Hub; it must read `owner/name`, of letters, digits, `-`, `_` and `.`")]
    Id {
        /// What was given.
        id: String,
    },
    /// A revision cannot be one.
    #[error("`{revision}` is no revision on the Hub: name a branch, a tag or a commit")]
    Revision {
        /// What was given.
        revision: String,
    },
    /// There is no place for the cache.
    #[error("no home folder to keep the cache in; set HF_HOME")]
    Home,
    /// An environment variable has an unusable value.
    #[error("the environment variable {name} {reason}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The endpoint is not a URL.
    #[error("the endpoint `{endpoint}` is no http(s) URL; mend HF_ENDPOINT")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// The token cannot be sent; it is not shown.
    #[error("the token holds characters that no token has; mend HF_TOKEN or the token file")]
    Token,
    /// In offline mode, a file is not in the cache.
    #[error(
        "{what} is not in the cache {cache}, and HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or HF_DATASETS_OFFLINE forbids \
         to download it; run once without it, or give the path of a local copy",
        cache = cache.display()
    )]
    Offline {
        /// The file and its repository.
        what: String,
        /// The cache.
        cache: PathBuf,
    },
    /// In offline mode, the cache has several commits of a repository, none of them marked as the newest.
    #[error(
        "{what} is in the cache in several commits, and nothing says which is meant; give the path of one: {}",
        paths(folders)
    )]
    Snapshots {
        /// The repository.
        what: String,
        /// The folders of the complete commits.
        folders: Vec<PathBuf>,
    },
    /// A model's repository has weights, but none that can be read.
    #[error("{what} has no `model.safetensors`; found: {}; {advice}", found.join(", "))]
    Weights {
        /// The repository.
        what: String,
        /// The weight files there.
        found: Vec<String>,
        /// How to get readable weights.
        advice: &'static str,
    },
    /// The repository, or the file in it, does not exist.
    #[error("{what} does not exist at {endpoint}; check the name, or give the path of a local copy")]
    NotFound {
        /// The repository, or the file and its repository.
        what: String,
        /// The Hub that was asked.
        endpoint: String,
    },
    /// The Hub requires a token, or a different one (HTTP 401 and 403).
    #[error(
        "{what}: access denied (HTTP {status}): it does not exist, is private, or is gated; if it is gated, \
         ask for access at {page}; {token}"
    )]
    Denied {
        /// The repository, or the file and its repository.
        what: String,
        /// 401 or 403.
        status: u16,
        /// The repository's page.
        page: String,
        /// What to do about the token.
        token: &'static str,
    },
    /// The server responded with another error.
    #[error("{what}: the server answered HTTP {status}; try again {}", later(*.retry_after))]
    Status {
        /// The repository, or the file and its repository.
        what: String,
        /// The HTTP status.
        status: u16,
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
    },
    /// No response.
    #[error(
        "{what}: cannot reach {endpoint} ({cause}); check the network and HF_ENDPOINT \
         (what is in the cache needs neither)"
    )]
    Connection {
        /// The repository, or the file and its repository.
        what: String,
        /// The Hub that was asked; the host that it redirected to may be the one that failed.
        endpoint: String,
        /// The reason.
        cause: Box<ureq::Error>,
    },
    /// A download broke off more often than it is retried.
    #[error(
        "{what}: the connection broke after {done} of {total} bytes ({cause}); run again to resume the download"
    )]
    Cut {
        /// The file and its repository.
        what: String,
        /// Bytes on disk.
        done: u64,
        /// Bytes announced.
        total: u64,
        /// The reason.
        cause: io::Error,
    },
    /// More bytes arrived than were announced.
    #[error(
        "{what}: the server announced {total} bytes and sent more; the download was discarded, run again"
    )]
    TooLong {
        /// The file and its repository.
        what: String,
        /// Bytes announced.
        total: u64,
    },
    /// The content is not what the Hub announced.
    #[error(
        "{what}: what came does not have the hash that the Hub announced ({expected}); the download was \
         discarded, run again"
    )]
    Hash {
        /// The file and its repository.
        what: String,
        /// The SHA-256, or git's SHA-1, that the file should have.
        expected: String,
    },
    /// The response is not one that a Hub gives.
    #[error("{what}: {endpoint} does not answer like a Hub ({reason}); check HF_ENDPOINT")]
    Protocol {
        /// The repository, or the file and its repository.
        what: String,
        /// The Hub that was asked.
        endpoint: String,
        /// What is wrong with the response.
        reason: String,
    },
    /// The list of weight files is damaged, or names files outside its folder.
    #[error(
        "{path}: not a usable list of weight files ({reason}); delete it and run again",
        path = path.display()
    )]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cache cannot be read or written.
    #[error("{path}: {cause}; check the space and permissions there, or set HF_HOME", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}

impl HubError {
    /// Whether a retry may help.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Cut { .. } => true,
            Self::Connection { cause, .. } => matches!(
                **cause,
                ureq::Error::Io(_)
                    | ureq::Error::Timeout(_)
                    | ureq::Error::HostNotFound
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::Protocol(_)
            ),
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// How long the server asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        if let Self::Status { retry_after, .. } = self { *retry_after } else { None }
    }

    /// For `map_err`: names the file or folder that the system refused.
    pub(super) fn io(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |cause| Self::Io { path, cause }
    }
}

fn later(pause: Option<Duration>) -> String {
    pause.map_or("later".to_owned(), |pause| format!("in {} seconds", pause.as_secs()))
}

fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
