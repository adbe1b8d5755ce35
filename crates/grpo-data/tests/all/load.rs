use std::fs;

use grpo_data::{Columns, Example, LoadError, Split, load};

use crate::parquet::write_truths;

fn truths(examples: &[Example]) -> Vec<&str> {
    examples.iter().map(|example| example.truth.as_str()).collect()
}

#[test]
fn a_folder_of_shards_by_split() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main");
    fs::create_dir(&main).unwrap();
    write_truths(&main.join("train-00001-of-00002.parquet"), &["3"]);
    write_truths(&main.join("train-00000-of-00002.parquet"), &["1", "2"]);
    write_truths(&main.join("test-00000-of-00001.parquet"), &["4"]);
    for root in [folder.path(), &main] {
        assert_eq!(truths(&load(root, &Split::train(), &Columns::default()).unwrap()), ["1", "2", "3"]);
        assert_eq!(truths(&load(root, &Split::test(), &Columns::default()).unwrap()), ["4"]);
    }
}

#[test]
fn a_folder_of_jsonl() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/test.jsonl"), r##"{"question": "q", "answer": "So #### 8"}"##)
        .unwrap();
    assert_eq!(truths(&load(folder.path(), &Split::test(), &Columns::default()).unwrap()), ["8"]);
    let error = load(folder.path(), &Split::train(), &Columns::default()).unwrap_err();
    assert!(matches!(&error, LoadError::NoSplit { found, .. } if found == &["data/test.jsonl"]), "{error}");
}

#[test]
fn a_file_is_read_whatever_the_split() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.parquet");
    write_truths(&path, &["1"]);
    assert_eq!(load(&path, &Split::test(), &Columns::default()).unwrap().len(), 1);
}

#[test]
fn a_shard_may_be_without_rows_but_not_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |shard: &str, truths: &[&str]| write_truths(&folder.path().join(shard), truths);
    write("train-0.parquet", &[]);
    write("train-1.parquet", &["1"]);
    write("train-2.parquet", &[]);
    assert_eq!(truths(&load(folder.path(), &Split::train(), &Columns::default()).unwrap()), ["1"]);
    write("train-1.parquet", &[]);
    let error = load(folder.path(), &Split::train(), &Columns::default()).unwrap_err();
    assert!(matches!(&error, LoadError::Empty { files } if files.len() == 3), "{error}");
    let error = error.to_string();
    assert!(error.contains("no row") && error.contains("train-0.parquet, "), "{error}");
}

#[test]
fn a_pointer_of_git_lfs() {
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "4d7a".repeat(16));
    let folder = tempfile::tempdir().unwrap();
    for (name, pointer) in [
        ("train.parquet", pointer.clone()),
        ("train.jsonl", pointer.clone()),
        ("a.jsonl", pointer.replace('\n', "\r\n")),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, pointer).unwrap();
        let error = load(&path, &Split::train(), &Columns::default()).unwrap_err();
        assert!(matches!(error, LoadError::LfsPointer { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(name) && error.contains("git lfs pull"), "{error}");
    }
}

#[test]
fn a_file_that_is_compressed_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    for (name, start, with) in [
        ("a.jsonl", &b"\x1f\x8b\x08\0"[..], "gzip"),
        ("a.jsonl.gz", b"\x1f\x8b\x08\0", "gzip"),
        ("a.parquet", b"\x28\xb5\x2f\xfd\0", "zstd"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, start).unwrap();
        let error = load(&path, &Split::train(), &Columns::default()).unwrap_err();
        assert!(matches!(&error, LoadError::Packed { tool, .. } if *tool == with), "{error}");
    }
}

#[test]
fn nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let error = load(folder.path().join("nowhere"), &Split::train(), &Columns::default()).unwrap_err();
    assert!(matches!(error, LoadError::NotFound { .. }), "{error}");
    let error = load(folder.path(), &Split::train(), &Columns::default()).unwrap_err().to_string();
    assert!(error.contains("split `train`") && error.contains("found: nothing"), "{error}");
}

#[test]
fn a_file_of_another_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.tsv");
    fs::write(&path, "question\tanswer").unwrap();
    assert!(matches!(load(path, &Split::train(), &Columns::default()), Err(LoadError::Format { .. })));
}
