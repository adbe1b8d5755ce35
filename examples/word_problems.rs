//! Writes the problems that come with the project, as Parquet files in GSM8K's format.
//!
//! ```text
//! cargo run --release --example word_problems
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use clap::Parser;
use grpo_examples::embedded;
use grpo_examples::word_problems::{Dataset, WordProblem};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// Write the generated word problems.
#[derive(Parser)]
struct Args {
    /// The folder to write to.
    #[arg(long, default_value_os_t = embedded::folder(""))]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let out = Args::parse().out;
    for dataset in Dataset::ALL {
        let path = out.join(dataset.file());
        let problems = dataset.problems();
        write(&path, &problems)?;
        println!("{} problems in {}", problems.len(), path.display());
    }
    Ok(())
}

fn write(path: &Path, problems: &[WordProblem]) -> anyhow::Result<()> {
    let column = |text: fn(&WordProblem) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(problems.iter().map(text)))
    };
    let batch = RecordBatch::try_from_iter([
        ("question", column(|p| &p.question)),
        ("answer", column(|p| &p.solution)),
    ])?;
    let zstd = Compression::ZSTD(ZstdLevel::try_new(19)?);
    let properties = WriterProperties::builder().set_compression(zstd).build();
    std::fs::create_dir_all(path.parent().expect("a dataset's file is in a folder"))?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
