//! Runs for other programs: tables as CSV or Parquet, and event files for TensorBoard.

mod error;
mod events;
mod protobuf;
mod table;
mod tables;
mod write;

pub use error::ExportError;
pub use events::EventFile;
pub use table::{Column, Table};
pub use tables::{Completions, steps};
pub use write::{write_csv, write_parquet};
