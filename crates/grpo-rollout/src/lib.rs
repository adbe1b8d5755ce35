//! Rollouts: prompts go in as token ids; groups of sampled completions come out, with the log-probability of
//! every sampled token.
//!
//! The crate's one design decision: **a sample is a function of its own logits and its own key.** Uniform numbers are a
//! function of (seed, step, problem, sample, token), and nothing is drawn from a shared generator. So neither the
//! order of the rows nor the rest of the batch can change a sample, and any step can be replayed from its
//! keys.
//!
//! The model is a [`Decoder`]: anything that maps tokens to next-token logits, with a cache that is passed around
//! as a value. An [`Engine`] decodes completions together, and others can join at any time. A trainer samples through [`Rollouts`]. The crate knows nothing about models, text or rewards.

mod decoder;
mod distribution;
mod engine;
mod error;
mod key;
mod option;
mod rollouts;
mod sample;
mod sampler;
mod tokens;

pub use decoder::{Decoder, DrawRequest, draw_on_host};
pub use distribution::{Draw, Sampling};
pub use engine::{Drawn, Engine, Job};
pub use error::{RemoteError, RolloutError};
pub use key::SampleKey;
pub use option::InvalidOption;
pub use rollouts::{Local, Rollouts, SamplerKind};
pub use sample::Sample;
pub use sampler::{Ended, Request, Sampler};
pub use tokens::{PromptCompletions, TokenGradients, TokenLogProbs};
