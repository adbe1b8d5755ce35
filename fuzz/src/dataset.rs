use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use grpo_data::{Columns, Split};
use parquet::arrow::ArrowWriter;

use crate::Target;

/// A dataset in each format.
pub fn dataset() -> Target {
    let lines = "{\"question\": \"What is 2 + 2?\", \"answer\": \"4\\n#### 4\"}\n\n{\"question\": \"\\u00e9\", \"answer\": \"#### -1,000\"}\n";
    Target {
        name: "dataset",
        files: vec![
            ("test.parquet".into(), table()),
            ("test.jsonl".into(), lines.into()),
            ("test.csv".into(), "question,answer\n\"2, or 3?\",\"so\n#### 2\"\n\u{e9},#### 3\n".into()),
        ],
        read,
    }
}

/// A small Parquet file.
fn table() -> Vec<u8> {
    let column = |values: [&str; 3]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let columns = [
        ("question", column(["What is 2 + 2?", "Is it?", "What is 2 + 2?"])),
        ("answer", column(["4\n#### 4", "#### 1,000", "#### -3"])),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("the columns are of one length");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("the schema is right");
    writer.write(&batch).expect("memory can be written");
    writer.close().expect("memory can be written");
    bytes
}

fn read(folder: &Path, file: &str) -> bool {
    grpo_data::load(folder.join(file), &Split::test(), &Columns::default()).is_ok()
}
