//! Qwen2 and Qwen2.5 on burn: the model, its weights, tokenizer and chat template, and the log-probabilities of given
//! tokens with their gradients by the weights.
//!
//! The crate's one design decision: **batches are packed, not padded.** Hidden states are `[tokens, hidden_size]` with all
//! sequences one after the other; a prompt stands once however many completions continue it, and only attention knows
//! which tokens see each other.
//!
//! The crate names no backend: it runs on the device its weights are loaded to. It knows nothing of reinforcement
//! learning; it implements [`grpo_rollout::Decoder`] so that the model can be sampled from.

mod adapter;
mod cache;
mod chat;
mod chat_tokenizer;
mod config;
mod config_file;
mod durable;
mod error;
mod head;
mod init;
mod load;
mod lora;
mod mix;
mod model;
mod model_tensors;
mod names;
mod packed;
mod pass;
mod projection;
mod rope;
mod save;
mod tensor_file;
mod tensor_names;
mod text_file;
mod tokenizer;
mod tokenizer_config;
mod weight_files;

pub use cache::KvCache;
pub use chat::{ChatTemplate, Message};
pub use chat_tokenizer::ChatTokenizer;
pub use config::Config;
pub use durable::{rename_durably, sync_folder, write_atomically};
pub use error::ModelError;
pub use lora::{LoraConfig, LoraTarget};
pub use model::Qwen2;
pub use names::Weight;
pub use packed::Group;
pub use pass::{Keep, Pass, Scores};
pub use save::{ModelFiles, Precision};
pub use tensor_file::{NamedTensor, TensorFile, write_tensors};
pub use tokenizer::Tokenizer;
