//! One binary for all integration tests of the crate.

mod chat;
mod common;
mod folder;
mod golden;
mod init;
mod inputs;
mod invariants;
mod jinja2;
mod lora;
mod mix;
mod real_checkpoint;
mod save;
mod templates;
mod text;
