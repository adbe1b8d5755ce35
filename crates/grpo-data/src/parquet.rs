//! The rows of a Parquet file.

use std::fs::{self, File};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;

use crate::cells::{can_be_read, cell};
use crate::reader::{Place, Reader, Row};
use crate::{Example, LoadError, pages};

/// How long reading a file may take, plus an allowance per megabyte of it: many times what any intact file needs.
const LIMIT: Duration = Duration::from_secs(10);
const LIMIT_PER_MEGABYTE: Duration = Duration::from_secs(1);

const TOO_LARGE: &str = "it unpacks to more than any real file of its size";

/// Reads every column that can be a JSON value; the others are never decoded.
///
/// Runs on its own thread, because the decoder (parquet 60.1) panics on some damaged pages, and can spend hours on a few
/// bytes that claim to be a list of billions. A thread that takes too long is left behind.
pub(crate) fn read(path: &Path, reader: &Reader) -> Result<Vec<Example>, LoadError> {
    let megabytes = fs::metadata(path).map_err(LoadError::io(path))?.len() >> 20;
    let limit = LIMIT + LIMIT_PER_MEGABYTE * u32::try_from(megabytes).unwrap_or(u32::MAX);
    let (done, result) = mpsc::channel();
    let (owned, reader) = (path.to_owned(), reader.clone());
    // If it can no longer be sent, nobody is waiting for it. After a panic, nothing of the reader is used.
    let work =
        move || drop(done.send(panic::catch_unwind(AssertUnwindSafe(|| read_columns(&owned, &reader)))));
    thread::Builder::new().name("parquet".to_owned()).spawn(work).map_err(LoadError::io(path))?;
    match result.recv_timeout(limit) {
        Ok(Ok(examples)) => examples,
        Err(RecvTimeoutError::Timeout) => {
            Err(refused(path, "it takes longer than any whole file of its size"))
        }
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(refused(path, "a page is damaged")),
    }
}

fn read_columns(path: &Path, reader: &Reader) -> Result<Vec<Example>, LoadError> {
    let damaged = |e: &dyn std::fmt::Display| refused(path, e.to_string());
    let file = File::open(path).map_err(LoadError::io(path))?;
    let pages = file.try_clone().map_err(LoadError::io(path))?;
    // The writer's Arrow type (large, view, dictionary) is ignored: in the file, all are strings, and they are
    // read as `Utf8`.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).map_err(|e| damaged(&e))?;
    let columns = readable(&builder, path, &reader.columns.required())?;
    check_pages(&builder, path, &pages, &columns)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
    let batches = builder.with_projection(mask).build().map_err(|e| damaged(&e))?;
    let length = pages.metadata().map_err(LoadError::io(path))?.len();
    let mut rows = Rows { path, reader, read: 0, examples: Vec::new(), left: pages::limit(length) };
    for batch in batches {
        rows.append(&batch.map_err(|e| damaged(&e))?)?;
    }
    Ok(rows.examples)
}

fn refused(path: &Path, reason: impl Into<String>) -> LoadError {
    LoadError::Parquet { path: path.to_owned(), reason: reason.into() }
}

/// The places of the columns to read: those that are required, and all others whose values and compression are known.
fn readable(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    path: &Path,
    required: &[&str],
) -> Result<Vec<usize>, LoadError> {
    let fields = builder.schema().fields();
    let times = |column: &str| fields.iter().filter(|field| field.name() == column).count();
    for column in required {
        match times(column) {
            1 => {}
            0 => {
                let found = fields.iter().map(|field| field.name().clone()).collect();
                return Err(LoadError::Column { path: path.to_owned(), column: (*column).to_owned(), found });
            }
            _ => return Err(refused(path, format!("it has several columns `{column}`"))),
        }
    }
    let (metadata, schema) = (builder.metadata(), builder.parquet_schema());
    let is_packed_with_lzo = |root: usize| {
        let leaves = (0..schema.num_columns()).filter(|leaf| schema.get_column_root_idx(*leaf) == root);
        let mut chunks =
            leaves.flat_map(|leaf| metadata.row_groups().iter().map(move |group| group.column(leaf)));
        chunks.any(|chunk| chunk.compression() == Compression::LZO)
    };
    let mut columns = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        let is_required = required.contains(&field.name().as_str());
        if is_required && is_packed_with_lzo(i) {
            return Err(LoadError::Codec { path: path.to_owned(), codec: "LZO" });
        }
        if is_required && !can_be_read(field.data_type()) {
            return Err(LoadError::Type {
                place: path.display().to_string(),
                column: field.name().clone(),
                found: format!("of type {}", field.data_type()),
            });
        }
        let is_known =
            || can_be_read(field.data_type()) && times(field.name()) == 1 && !is_packed_with_lzo(i);
        if is_required || is_known() {
            columns.push(i);
        }
    }
    Ok(columns)
}

/// Refuses what would fill the memory.
fn check_pages(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    path: &Path,
    file: &File,
    columns: &[usize],
) -> Result<(), LoadError> {
    let (metadata, schema) = (builder.metadata(), builder.parquet_schema());
    let is_read = |leaf: &usize| columns.contains(&schema.get_column_root_idx(*leaf));
    let leaves: Vec<usize> = (0..schema.num_columns()).filter(is_read).collect();
    match pages::are_bounded(file, metadata, &leaves).map_err(LoadError::io(path))? {
        true => Ok(()),
        false => Err(refused(path, TOO_LARGE)),
    }
}

/// What has been read from a file so far.
struct Rows<'a> {
    path: &'a Path,
    reader: &'a Reader,
    read: usize,
    examples: Vec<Example>,
    /// Bytes that may still be read: rows can repeat text that the file holds only once.
    left: u64,
}

impl Rows<'_> {
    fn append(&mut self, batch: &RecordBatch) -> Result<(), LoadError> {
        let schema = batch.schema();
        let columns: Vec<_> = schema.fields().iter().zip(batch.columns()).collect();
        for i in 0..batch.num_rows() {
            self.read += 1;
            let mut row = Row::new();
            for (field, column) in &columns {
                let value = cell(column.as_ref(), i, &mut self.left);
                row.insert(field.name().clone(), value.ok_or_else(|| refused(self.path, TOO_LARGE))?);
            }
            let place = Place { path: self.path, unit: "row", number: self.read };
            self.examples.extend(self.reader.example(place, row)?);
        }
        Ok(())
    }
}
