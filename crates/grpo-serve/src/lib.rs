//! Serves a model over HTTP: the OpenAI protocol (`/v1/models`, `/v1/completions`, `/v1/chat/completions`), with token ids in and out
//! as vLLM has them, and vLLM's routes by which a trainer loads adapters or weights.
//!
//! A [`Worker`] owns the model and decodes what all requests ask for together, in one
//! [`Engine`](grpo_rollout::Engine): requests join as others end. A [`Server`] puts it behind HTTP; `grpo chat` talks to it
//! directly.
//!
//! A request may bring the [keys](grpo_rollout::SampleKey) of its completions (`sample_keys`). Then it gets the same completions, to
//! the bit, as a sampler in the process that trains, on a processor of the same kind: which requests are decoded together
//! changes no token.

mod answer;
mod error;
mod http;
mod reading;
mod request;
mod routes;
mod text;
mod worker;

pub use error::{ApiError, ServeError};
pub use http::{Server, Token};
pub use text::{Piece, Texts};
pub use worker::{Limits, Tokens, Worker};
