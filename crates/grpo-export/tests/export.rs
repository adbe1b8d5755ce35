//! Runs as tables and event files.

use std::fs::{self, File};
use std::iter;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use grpo_export::{Column, Completions, EventFile, ExportError, steps, write_csv, write_parquet};
use grpo_record::Run;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;
use tempfile::TempDir;

/// A run of two steps, the second without a KL, and this many completions a step.
fn run_folder(completions: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    let run = json!({
        "began": "2026-11-27T07:38:28", "config": {}, "rewards": { "correctness": {}, "format": {} }, "processes": [],
    });
    write("run.json", run.to_string());
    write(
        "metrics.jsonl",
        "{\"step\":1,\"reward\":0.5,\"kl\":0.1,\"diagnoses\":[\"low, and\",\"flat\"]}\n{\"step\":2,\"reward\":0.75}\n".to_owned(),
    );
    write("times.jsonl", "{\"step\":1,\"step_time\":2.5}\n{\"step\":2,\"step_time\":3}\n".to_owned());
    let record = |(step, sample): (u64, u64)| {
        let record = json!({
            "step": step, "problem": 7, "sample": sample, "question": "3 + 4?", "truth": 7, "prompt": "3 + 4?",
            "completion": "a \"quoted\",\nlong one", "tokens": 5, "finish": "stop", "reward": 2.5,
            "rewards": { "correctness": 2.0, "format": 0.5 }, "advantage": -0.25,
        });
        record.to_string() + "\n"
    };
    let all = [1, 2].into_iter().flat_map(|step| (0..completions).map(move |sample| (step, sample)));
    write("completions.jsonl", all.map(record).collect());
    folder
}

fn read(folder: &Path) -> Run {
    Run::read(folder).unwrap()
}

#[test]
fn steps_are_a_table() {
    let folder = run_folder(1);
    let table = steps(&read(folder.path()));
    assert_eq!(table.rows(), 2);
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["step", "kl", "reward", "step_time", "diagnoses"]);
    assert_eq!(table.columns[1].1, Column::Numbers(vec![Some(0.1), None]));
    let path = folder.path().join("steps.csv");
    assert_eq!(write_csv(iter::once(Ok(table)), &path).unwrap(), 2);
    let expected = "step,kl,reward,step_time,diagnoses\n1,0.1,0.5,2.5,\"low, and; flat\"\n2,,0.75,3.0,\n";
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
}

#[test]
fn completions_are_written_some_thousands_at_a_time() {
    let folder = run_folder(3000);
    let run = read(folder.path());
    let path = folder.path().join("completions.parquet");
    assert_eq!(write_parquet(Completions::open(&run).unwrap(), &path).unwrap(), 6000);
    let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap())
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows, 6000);
    let last = batches.last().unwrap();
    let row = last.num_rows() - 1;
    let column = |name: &str| last.column_by_name(name).unwrap();
    assert_eq!(column("sample").as_primitive::<Int64Type>().value(row), 2999);
    assert_eq!(column("rewards/correctness").as_primitive::<Float64Type>().value(row), 2.0);
    assert_eq!(column("completion").as_string::<i32>().value(row), "a \"quoted\",\nlong one");
    assert_eq!(column("truth").as_string::<i32>().value(row), "7");
}

#[test]
fn a_run_without_completions_is_a_table_without_rows() {
    let folder = run_folder(0);
    for is_missing in [false, true] {
        if is_missing {
            fs::remove_file(folder.path().join("completions.jsonl")).unwrap();
        }
        let run = read(folder.path());
        let [csv, parquet] = ["c.csv", "c.parquet"].map(|name| folder.path().join(name));
        assert_eq!(write_csv(Completions::open(&run).unwrap(), &csv).unwrap(), 0);
        assert!(fs::read_to_string(csv).unwrap().starts_with("step,problem,sample,"));
        assert_eq!(write_parquet(Completions::open(&run).unwrap(), &parquet).unwrap(), 0);
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&parquet).unwrap()).unwrap();
        assert_eq!(reader.schema().fields().len(), 13);
    }
}

#[test]
fn a_damaged_record_leaves_no_file() {
    let folder = run_folder(1);
    fs::write(folder.path().join("completions.jsonl"), "{}\n").unwrap();
    let run = read(folder.path());
    let path = folder.path().join("completions.csv");
    let error = write_csv(Completions::open(&run).unwrap(), &path).unwrap_err();
    assert!(matches!(error, ExportError::Record(_)) && error.to_string().contains("line 1"), "{error}");
    assert!(!path.exists());
    let error = write_csv(iter::once(Ok(steps(&run))), &folder.path().join("no/steps.csv")).unwrap_err();
    assert!(matches!(error, ExportError::Write { .. }), "{error}");
}

#[test]
fn event_files_of_a_run_do_not_overwrite_one_another() {
    let folder = tempfile::tempdir().unwrap();
    for step in 1..=3 {
        let mut events = EventFile::create(&folder.path().join("tensorboard"), step).unwrap();
        events.scalars(step, [("reward", 0.5)]).unwrap();
        events.text(step, "completion", "two\nlines").unwrap();
    }
    assert_eq!(fs::read_dir(folder.path().join("tensorboard")).unwrap().count(), 3);
}
