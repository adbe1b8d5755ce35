//! Tables as files. A file is complete or as it was before.

use std::fs::File;
use std::io::{self, BufWriter};
use std::iter;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use grpo_files::write_atomically;
use grpo_record::RecordError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{Column, ExportError, Table};

/// Writes tables with the same columns as one CSV file; a value that is missing is empty. Returns the number of rows.
pub fn write_csv(
    tables: impl IntoIterator<Item = Result<Table, RecordError>>,
    path: &Path,
) -> Result<usize, ExportError> {
    let write = |file: &mut File| {
        let mut writer = csv::Writer::from_writer(BufWriter::new(file));
        let mut rows = 0;
        for (i, table) in tables.into_iter().enumerate() {
            let table = table.map_err(io::Error::other)?;
            if i == 0 {
                writer.write_record(table.columns.iter().map(|(name, _)| name))?;
            }
            for row in 0..table.rows() {
                writer.write_record(table.columns.iter().map(|(_, column)| column.text(row)))?;
            }
            rows += table.rows();
        }
        writer.flush()?;
        Ok(rows)
    };
    write_atomically(path, write).map_err(ExportError::write(path))
}

/// Writes tables with the same columns as one Parquet file. Returns the number of rows.
pub fn write_parquet(
    tables: impl IntoIterator<Item = Result<Table, RecordError>>,
    path: &Path,
) -> Result<usize, ExportError> {
    let write = |file: &mut File| {
        let read = |table: Result<Table, RecordError>| {
            batch(table.map_err(io::Error::other)?).map_err(io::Error::other)
        };
        let mut batches = tables.into_iter().map(read);
        let Some(first) = batches.next().transpose()? else { return Ok(0) };
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd).build();
        let mut writer = ArrowWriter::try_new(file, first.schema(), Some(properties))?;
        let mut rows = 0;
        for batch in iter::once(Ok(first)).chain(batches) {
            let batch = batch?;
            writer.write(&batch)?;
            rows += batch.num_rows();
        }
        writer.close()?;
        Ok(rows)
    };
    write_atomically(path, write).map_err(ExportError::write(path))
}

fn batch(table: Table) -> Result<RecordBatch, impl std::error::Error + Send + Sync> {
    let column = |(name, column)| {
        let array: ArrayRef = match column {
            Column::Integers(values) => Arc::new(Int64Array::from(values)),
            Column::Numbers(values) => Arc::new(Float64Array::from(values)),
            Column::Texts(values) => Arc::new(StringArray::from(values)),
        };
        (name, array, true)
    };
    RecordBatch::try_from_iter_with_nullable(table.columns.into_iter().map(column))
}
