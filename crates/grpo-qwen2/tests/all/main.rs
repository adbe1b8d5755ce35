//! One binary for all integration tests of the crate.

mod adapter_inputs;
mod chat;
mod common;
mod config_keys;
mod draws;
mod folder;
mod folder_files;
mod freeze;
mod golden;
mod init;
mod invariants;
mod jinja2;
mod lerp;
mod lora;
mod real_checkpoint;
mod save;
mod stored_tensors;
mod templates;
mod text;
