//! What the Hub refuses, and what happens on the way.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the Hub, or its cache, did not deliver. The token never appears in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// An id is not of the form `owner/name`.
    #[error("`{id}` is no id on the Hub; it must read `owner/name`, of letters, digits, `-`, `_` and `.`")]
    Id {
        /// What was given.
        id: String,
    },
    /// There is no place for the cache.
    #[error("no home folder to keep the cache in; set HF_HOME")]
    Home,
    /// A variable of the environment says nothing that can be followed.
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
    /// Working offline, and a file is not in the cache.
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
    /// Working offline, and the cache has several commits of a repository, none of which it calls the newest.
    #[error(
        "{what} is in the cache in several commits, and nothing says which is meant; give the path of one: {}",
        paths(folders)
    )]
    Snapshots {
        /// The repository.
        what: String,
        /// The folders of the commits that are whole.
        folders: Vec<PathBuf>,
    },
    /// A model's repository has weights, but none that can be read.
    #[error("{what} has no `model.safetensors`; found: {}; {advice}", found.join(", "))]
    Weights {
        /// The repository.
        what: String,
        /// The files of weights there.
        found: Vec<String>,
        /// How to get what is wanted.
        advice: &'static str,
    },
    /// The repository, or the file in it, does not exist.
    #[error("{what} does not exist at {endpoint}; check the name, or give the path of a local copy")]
    NotFound {
        /// The repository, or the file and its repository.
        what: String,
        /// The Hub asked.
        endpoint: String,
    },
    /// The Hub wants a token, or another one (HTTP 401 and 403).
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
    /// The server answered with another error.
    #[error("{what}: the server answered HTTP {status}; try again {}", later(*.retry_after))]
    Status {
        /// The repository, or the file and its repository.
        what: String,
        /// The HTTP status.
        status: u16,
        /// How long the server asked to wait.
        retry_after: Option<Duration>,
    },
    /// No answer.
    #[error(
        "{what}: cannot reach {endpoint} ({cause}); check the network and HF_ENDPOINT \
         (what is in the cache needs neither)"
    )]
    Connection {
        /// The repository, or the file and its repository.
        what: String,
        /// The Hub asked; the failure may be of the host that it redirected to.
        endpoint: String,
        /// The reason.
        cause: Box<ureq::Error>,
    },
    /// A download broke off, more often than is retried.
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
    /// More bytes came than were announced.
    #[error(
        "{what}: the server announced {total} bytes and sent more; the download was discarded, run again"
    )]
    TooLong {
        /// The file and its repository.
        what: String,
        /// Bytes announced.
        total: u64,
    },
    /// What came is not what the Hub announced.
    #[error(
        "{what}: what came does not have the hash that the Hub announced ({expected}); the download was \
         discarded, run again"
    )]
    Hash {
        /// The file and its repository.
        what: String,
        /// The SHA-256, or git's SHA-1, that it should have.
        expected: String,
    },
    /// The answer is not one that a Hub gives.
    #[error("{what}: {endpoint} does not answer like a Hub ({reason}); check HF_ENDPOINT")]
    Protocol {
        /// The repository, or the file and its repository.
        what: String,
        /// The Hub asked.
        endpoint: String,
        /// What is wrong with the answer.
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
    /// Whether trying again may help.
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

    /// For `map_err`: says where the system refused.
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
