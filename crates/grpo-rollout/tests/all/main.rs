//! Rollouts of a decoder that is a table.

mod engine;
mod sampler;
mod table;
