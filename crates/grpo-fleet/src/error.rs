use std::path::PathBuf;

use grpo_rollout::InvalidOption;

use crate::protocol::ProtocolError;

/// Why completions cannot be sampled on servers.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// An option is outside its range, or a server cannot do what it asks for.
    #[error(transparent)]
    InvalidOption(#[from] InvalidOption),
    /// A server's address is no URL.
    #[error(
        "`{url}` is no address of a server: write it like http://10.0.0.2:8000, without a user or a password"
    )]
    Url {
        /// The address.
        url: String,
    },
    /// The file of a token cannot be used.
    #[error("{path}: {reason}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A server does not answer.
    #[error("{server} does not answer: {reason}; is it running, and can this machine reach it?")]
    Unreachable {
        /// Its address.
        server: String,
        /// The reason.
        reason: String,
    },
    /// A server wants another token.
    #[error(
        "{server} does not accept the token: set token_file to a file with the one that it was started with"
    )]
    Token {
        /// Its address.
        server: String,
    },
    /// A server refuses or fails to do something.
    #[error("{server} answers {path} with {status}: {text}")]
    Status {
        /// Its address.
        server: String,
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// A server's answer is not what was asked for.
    #[error("{server}: {cause}")]
    Protocol {
        /// Its address.
        server: String,
        /// What is wrong.
        cause: ProtocolError,
    },
    /// A server serves another model, or with other limits.
    #[error("{server} {reason}")]
    Other {
        /// Its address.
        server: String,
        /// What differs, and what to do.
        reason: String,
    },
    /// A policy could not be written for the servers.
    #[error("the policy cannot be written to {folder} for the servers: {reason}; the run has a checkpoint")]
    Publication {
        /// The folder.
        folder: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A server does not load a policy.
    #[error(
        "{server} does not load the policy in {folder}: {text}; it must see the folder under this path (rollouts.folder), and \
         vLLM needs --enable-lora --max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, or for all weights VLLM_SERVER_DEV_MODE=1"
    )]
    Load {
        /// Its address.
        server: String,
        /// The folder.
        folder: PathBuf,
        /// The HTTP status.
        status: u16,
        /// What it says.
        text: String,
    },
    /// No server has worked for some time.
    #[error("no server has worked for {seconds} s (rollouts.patience); the last error: {last}")]
    NoServer {
        /// The time.
        seconds: u64,
        /// The last error.
        last: Box<FleetError>,
    },
    /// A group failed on all servers, again and again.
    #[error("a group failed {tries} times; the last error: {last}")]
    GaveUp {
        /// How often.
        tries: usize,
        /// The last error.
        last: Box<FleetError>,
    },
}

impl FleetError {
    /// Whether another try, here or at another server, may succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            // 404: a server that was restarted does not know the policy.
            Self::Status { status, .. } => matches!(status, 404 | 408 | 429 | 500..),
            // A shared folder may show a new folder late.
            Self::Load { status, .. } => *status == 404,
            Self::Protocol { cause, .. } => cause.is_transient(),
            _ => false,
        }
    }
}
