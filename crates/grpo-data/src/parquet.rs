//! Two columns of a Parquet file.

use std::fs::{self, File};
use std::panic;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, downcast_integer_array};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;

use crate::columns::Reader;
use crate::{Columns, Example, LoadError, pages};

/// How long reading a file may take, plus an allowance per megabyte of it: many times what any intact file needs.
const LIMIT: Duration = Duration::from_secs(10);
const LIMIT_PER_MEGABYTE: Duration = Duration::from_secs(1);

const TOO_LARGE: &str = "it unpacks to more than any real file of its size";

/// Reads the columns of questions and answers; the others are never decoded.
///
/// Runs on its own thread, because the decoder (parquet 60.1) panics on some damaged pages, and can spend hours on a few
/// bytes that claim to be a list of billions. A thread that takes too long is left behind.
pub(crate) fn read(path: &Path, reader: &Reader) -> Result<Vec<Example>, LoadError> {
    let megabytes = fs::metadata(path).map_err(LoadError::io(path))?.len() >> 20;
    let limit = LIMIT + LIMIT_PER_MEGABYTE * u32::try_from(megabytes).unwrap_or(u32::MAX);
    let (done, result) = mpsc::channel();
    let (owned, reader) = (path.to_owned(), reader.clone());
    // If it can no longer be sent, nobody is waiting for it.
    let work = move || drop(done.send(panic::catch_unwind(|| read_columns(&owned, &reader))));
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
    let Columns { question, answer, .. } = &reader.columns;
    let columns = [find(&builder, path, question)?, find(&builder, path, answer)?];
    check_pages(&builder, path, &pages, columns)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
    let batches = builder.with_projection(mask).build().map_err(|e| damaged(&e))?;
    let length = pages.metadata().map_err(LoadError::io(path))?.len();
    let mut rows = Rows { path, reader, examples: Vec::new(), left: pages::limit(length) };
    for batch in batches {
        rows.append(&batch.map_err(|e| damaged(&e))?)?;
    }
    Ok(rows.examples)
}

fn refused(path: &Path, reason: impl Into<String>) -> LoadError {
    LoadError::Parquet { path: path.to_owned(), reason: reason.into() }
}

fn find(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    path: &Path,
    column: &str,
) -> Result<usize, LoadError> {
    let names = || builder.schema().fields().iter().map(|field| field.name());
    if names().filter(|name| *name == column).count() > 1 {
        return Err(refused(path, format!("it has several columns `{column}`")));
    }
    builder.schema().index_of(column).map_err(|_| LoadError::Column {
        path: path.to_owned(),
        column: column.to_owned(),
        found: names().cloned().collect(),
    })
}

/// Refuses what cannot be unpacked or would fill the memory.
fn check_pages(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    path: &Path,
    file: &File,
    columns: [usize; 2],
) -> Result<(), LoadError> {
    let (metadata, schema) = (builder.metadata(), builder.parquet_schema());
    let is_read = |leaf: &usize| columns.contains(&schema.get_column_root_idx(*leaf));
    let leaves: Vec<usize> = (0..schema.num_columns()).filter(is_read).collect();
    let mut chunks = metadata.row_groups().iter().flat_map(|group| leaves.iter().map(|&i| group.column(i)));
    if chunks.any(|chunk| chunk.compression() == Compression::LZO) {
        return Err(LoadError::Codec { path: path.to_owned(), codec: "LZO" });
    }
    if !pages::are_bounded(file, metadata, &leaves).map_err(LoadError::io(path))? {
        return Err(refused(path, TOO_LARGE));
    }
    Ok(())
}

/// What has been read from a file so far.
struct Rows<'a> {
    path: &'a Path,
    reader: &'a Reader,
    examples: Vec<Example>,
    /// Bytes of text that may still be read: rows can repeat text that the file holds only once.
    left: u64,
}

impl Rows<'_> {
    fn append(&mut self, batch: &RecordBatch) -> Result<(), LoadError> {
        let Columns { question, answer, .. } = &self.reader.columns;
        let questions = Texts::new(batch, self.path, question, false)?;
        let answers = Texts::new(batch, self.path, answer, self.reader.takes_numbers())?;
        for i in 0..batch.num_rows() {
            let row = self.examples.len() + 1;
            let null =
                |column: &str| LoadError::Null { path: self.path.to_owned(), column: column.to_owned(), row };
            let question = questions.text(i).ok_or_else(|| null(question))?;
            let answer = answers.text(i).ok_or_else(|| null(answer))?;
            let left = self.left.checked_sub((question.len() + answer.len()) as u64);
            self.left = left.ok_or_else(|| refused(self.path, TOO_LARGE))?;
            self.examples.push(self.reader.example(self.path, row, question, answer)?);
        }
        Ok(())
    }
}

/// A column of texts, or of whole numbers that are read as texts.
enum Texts<'a> {
    Strings(&'a StringArray),
    Numbers(&'a ArrayRef),
}

impl<'a> Texts<'a> {
    fn new(
        batch: &'a RecordBatch,
        path: &Path,
        column: &str,
        takes_numbers: bool,
    ) -> Result<Self, LoadError> {
        let array = batch.column_by_name(column);
        if let Some(strings) = array.and_then(|array| array.as_string_opt()) {
            return Ok(Self::Strings(strings));
        }
        match array {
            Some(array) if takes_numbers && array.data_type().is_integer() => Ok(Self::Numbers(array)),
            _ => {
                let found = array.map(|array| format!("of type {}", array.data_type()));
                Err(LoadError::Type {
                    place: path.display().to_string(),
                    column: column.to_owned(),
                    found: found.unwrap_or_else(|| "missing".to_owned()),
                })
            }
        }
    }

    /// None if it is null.
    fn text(&self, i: usize) -> Option<String> {
        match self {
            Self::Strings(strings) => strings.is_valid(i).then(|| strings.value(i).to_owned()),
            Self::Numbers(numbers) => numbers.is_valid(i).then(|| {
                downcast_integer_array!(
                    numbers => numbers.value(i).to_string(),
                    other => unreachable!("{other} has been checked to be a whole number"),
                )
            }),
        }
    }
}
