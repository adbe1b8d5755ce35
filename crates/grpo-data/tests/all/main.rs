//! Datasets on disk, and the Hub against a small server of the test's own.

mod columns;
mod errors;
mod gsm8k;
mod hub;
mod hub_cache;
mod hub_failures;
mod hub_retries;
mod hub_transfers;
mod jsonl;
mod load;
mod parquet;
mod resolve;
mod server;
mod shapes;
