//! Datasets in other layouts than GSM8K's.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use grpo_data::{Columns, Example, LoadError, Split, Truth, load};
use parquet::arrow::ArrowWriter;
use serde_json::json;

fn columns(question: &str, answer: &str, truth: Truth) -> Columns {
    Columns { question: question.into(), answer: answer.into(), truth, ..Columns::default() }
}

fn jsonl(line: &str, columns: &Columns) -> Result<Vec<Example>, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, line).unwrap();
    load(path, &Split::train(), columns)
}

fn parquet(path: &Path, batch: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn the_truth_is_taken_as_the_columns_say() {
    let answer = |text: &str| format!(r#"{{"problem": "q", "solution": {text}, "level": 5}}"#);
    let pattern = |pattern: &str| Truth::Pattern(pattern.into());
    for (text, truth, expected) in [
        (r##""It is 5.\n#### 5""##, Truth::Hashes, "5"),
        (r#"" (B)\n""#, Truth::Whole, "(B)"),
        (r#""so $\\boxed{5}$""#, Truth::Whole, r"so $\boxed{5}$"),
        (r#""so $\\boxed{3}$, then $\\boxed{\\frac{1}{2}}$, \\boxed{""#, Truth::Boxed, r"\frac{1}{2}"),
        (r#""A: 3; A: 14""#, pattern(r"A: (\d+)"), "14"),
        (r#""A: 3; A: 14""#, pattern(r"\d"), "4"),
        (r#""yes""#, pattern("(no)|(yes)"), "yes"),
        ("204", Truth::Whole, "204"),
        ("24.0", Truth::Whole, "24"),
        ("204", pattern(r"^\d"), "2"),
    ] {
        let examples = jsonl(&answer(text), &columns("problem", "solution", truth)).unwrap();
        assert_eq!((examples[0].question.as_str(), examples[0].truth.as_str()), ("q", expected), "{text}");
    }
}

#[test]
fn what_has_no_truth_is_named() {
    let pattern = |pattern: &str| Truth::Pattern(pattern.into());
    for (line, columns, expected) in [
        (r#"{"q": "q", "a": " "}"#, columns("q", "a", Truth::Whole), "the answer of row 1 is empty"),
        (r#"{"q": "q", "a": "b"}"#, columns("q", "a", pattern("A: (.)")), "row 1 has no match of \"A: (.)\""),
        (r#"{"q": "q", "a": "A: "}"#, columns("q", "a", pattern("A:( )")), "has no match"),
        (r#"{"q": "q", "a": 5}"#, columns("q", "a", Truth::Hashes), "`a` is a number"),
        (r#"{"q": 5, "a": "5"}"#, columns("q", "a", Truth::Whole), "`q` is a number"),
        (r#"{"q": "q", "a": 1.5}"#, columns("q", "a", Truth::Whole), "`a` is a number that is not whole"),
        (r#"{"q": "q", "a": 123456789012345678901}"#, columns("q", "a", Truth::Whole), "not whole"),
        (r#"{"q": "q", "a": "5"}"#, columns("q", "a", Truth::Boxed), "has no `\\boxed{…}`"),
        (r#"{"q": "q", "a": NaN}"#, columns("q", "a", Truth::Whole), "`a` is null"),
        (r#"{"q": "q", "b": "5"}"#, columns("q", "a", Truth::Whole), "no field `a`"),
        (r#"{"q": "q", "a": "5"}"#, columns("q", "q", Truth::Whole), "would give its answer away"),
        (r#"{"q": "q", "a": "5"}"#, columns("q", "a", pattern("(")), "no regular expression"),
    ] {
        let error = jsonl(line, &columns).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// Python writes `NaN` for what is missing.
#[test]
fn numbers_that_are_none_do_no_harm_in_other_columns() {
    let line = r#"{"q": "q", "score": NaN, "a": 204, "bound": -Infinity}"#;
    let example = jsonl(line, &columns("q", "a", Truth::Whole)).unwrap().remove(0);
    assert_eq!((example.truth.as_str(), &example.columns["score"]), ("204", &serde_json::Value::Null));
}

#[test]
fn columns_of_parquet_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1 + 1?", "2 + 2?"]));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![2, 4]));
    let nulls: ArrayRef = Arc::new(Int32Array::from(vec![Some(2), None]));
    let batch = [("problem", texts), ("sum", numbers), ("gap", nulls)];
    parquet(
        &path,
        &RecordBatch::try_from_iter_with_nullable(batch.map(|(name, array)| (name, array, true))).unwrap(),
    );
    let examples = load(&path, &Split::train(), &columns("problem", "sum", Truth::Whole)).unwrap();
    let columns_of = json!({ "gap": null }).as_object().unwrap().clone();
    let expected = Example {
        question: "2 + 2?".into(),
        solution: "4".into(),
        truth: "4".into(),
        columns: columns_of,
        ..Example::default()
    };
    assert_eq!(examples[1], expected);
    for (wanted, expected) in [
        (columns("problem", "sum", Truth::Hashes), "row 1: `sum` is a number"),
        (columns("sum", "problem", Truth::Whole), "row 1: `sum` is a number"),
        (columns("problem", "gap", Truth::Whole), "row 2: `gap` is null"),
        (columns("question", "sum", Truth::Whole), "no column `question`; found: problem, sum, gap"),
    ] {
        let error = load(&path, &Split::train(), &wanted).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
