//! Datasets on disk, and the Hub against a small server of the test's own.

mod gsm8k;
mod hub;
mod hub_failures;
mod jsonl;
mod load;
mod parquet;
mod resolve;
mod server;
