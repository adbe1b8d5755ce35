use std::path::Path;

use grpo_data::Split;

use crate::Target;

/// A dataset in either format.
pub fn dataset() -> Target {
    let parquet = include_bytes!("../../examples/embedded/held_out_templates/test.parquet");
    let lines = "{\"question\": \"What is 2 + 2?\", \"answer\": \"4\\n#### 4\"}\n\n{\"question\": \"\\u00e9\", \"answer\": \"#### -1,000\"}\n";
    Target {
        name: "dataset",
        files: vec![("test.parquet".into(), parquet.to_vec()), ("test.jsonl".into(), lines.into())],
        read,
    }
}

fn read(folder: &Path) {
    for file in ["test.parquet", "test.jsonl"] {
        let _ = grpo_data::load(folder.join(file), Split::Test);
    }
}
