use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The servers that completions are sampled on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FleetConfig {
    /// The servers; if there are none, this process samples.
    pub servers: Vec<ServerConfig>,
    /// The folder in which every version of the policy is written for the servers, which must see it under the same path; a temporary
    /// one of this machine if none.
    pub folder: Option<PathBuf>,
    /// Groups that a server works on at once.
    pub groups_in_flight: usize,
    /// Time limit in seconds for a group, and for loading a policy.
    pub timeout: u64,
    /// Seconds that a step waits without any server that works, before the run ends with an error.
    pub patience: u64,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self { servers: Vec::new(), folder: None, groups_in_flight: 8, timeout: 600, patience: 300 }
    }
}

/// An inference server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Its address, such as `http://10.0.0.2:8000`.
    pub url: String,
    /// The address of the routes that replace all weights, if it is another one; vLLM does not guard them by its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_url: Option<String>,
    /// File with the token that its requests bring (vLLM: `--api-key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}
