use std::net::SocketAddr;
use std::path::PathBuf;

use grpo_qwen2::ModelError;
use grpo_rollout::RolloutError;
use serde_json::{Value, json};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {cause}; is another server there? choose another port")]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        cause: String,
    },
    /// Other machines could reach the server, and anyone could use it.
    #[error(
        "{address} can be reached from other machines: give a token that requests have to bring, or listen at 127.0.0.1"
    )]
    NoToken {
        /// The address.
        address: SocketAddr,
    },
    /// The file of the token cannot be used.
    #[error("{path}: {reason}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The limits are not those of any server.
    #[error("{option} is {value}: it must be {expected}")]
    Limit {
        /// The limit.
        option: &'static str,
        /// Its value.
        value: usize,
        /// The values that it can have.
        expected: String,
    },
}

/// Why a request is not answered: the status, and what it says to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The reason, and what to do.
    pub message: String,
}

impl ApiError {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// The client's mistake.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// A model that is not there.
    pub(crate) fn no_model(name: &str) -> Self {
        Self::new(404, format!("the model `{name}` does not exist: GET /v1/models lists those that do"))
    }

    /// The worker is gone.
    pub(crate) fn stopped() -> Self {
        Self::new(500, "the server's model has stopped: start the server again")
    }

    /// What OpenAI's clients read.
    pub(crate) fn body(&self) -> Value {
        let kind = match self.status {
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": null, "code": self.status } })
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        Self::bad(error.to_string())
    }
}

impl From<RolloutError> for ApiError {
    fn from(error: RolloutError) -> Self {
        Self::bad(error.to_string())
    }
}
