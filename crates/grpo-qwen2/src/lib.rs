//! Qwen2, Qwen2.5 and dense Qwen3 on burn: the model, its weights, tokenizer and chat template, and the log-probabilities of given
//! tokens with their gradients with respect to the weights.
//!
//! The crate's one design decision: **batches are packed, not padded.** Hidden states are `[tokens, hidden_size]`, with all
//! sequences concatenated. A prompt appears once, however many completions continue it, and only attention knows which tokens
//! see each other.
//!
//! The crate names no backend: it runs on the device that its weights are loaded to. It knows nothing of reinforcement
//! learning; it implements [`grpo_rollout::Decoder`] so that the model can be sampled from.

mod adapter;
mod builder;
mod cache;
mod chat;
mod chat_tokenizer;
mod config;
mod config_file;
mod device_decoding;
mod dtype;
mod error;
mod freeze;
mod head;
mod init;
mod lerp;
mod load;
mod lora;
mod model;
mod model_tensors;
mod names;
mod packed;
mod pass;
mod projection;
mod prompt;
mod rope;
mod save;
mod table;
mod tensor_file;
mod tensor_names;
mod text_file;
mod text_stream;
mod tokenizer;
mod tokenizer_config;
mod transpose;
mod weight_files;
mod weight_source;

pub use cache::KvCache;
pub use chat::ChatTemplate;
pub use chat_tokenizer::ChatTokenizer;
pub use config::{Architecture, Config};
pub use dtype::Dtype;
pub use error::ModelError;
pub use grpo_core::Message;
pub use lora::{LoraConfig, LoraTarget};
pub use model::Qwen2;
pub use names::Weight;
pub use pass::{ActivationCheckpointing, Pass};
pub use prompt::KvPrompt;
pub use save::ModelFiles;
pub use table::Table;
pub use tensor_file::{NamedTensor, TensorFile, write_tensors};
pub use text_stream::TextStream;
pub use tokenizer::Tokenizer;
