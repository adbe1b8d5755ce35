use std::fs;

use grpo_data::{Columns, Example, LoadError, Split, load};
use serde_json::json;

fn read(content: &[u8]) -> Result<Vec<Example>, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, content).unwrap();
    load(path, &Split::train(), &Columns::default())
}

/// Reads a good line, then `line`, which must be refused with a message that holds all of `parts`.
fn check(line: &[u8], parts: &[&str]) {
    let error =
        read(&[br##"{"question": "q", "answer": "So #### 1"}"##, &b"\n"[..], line].concat()).unwrap_err();
    let message = error.to_string();
    for part in ["a.jsonl", "2"].iter().chain(parts) {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn one_example_per_line() {
    let text = "{\"question\": \"2 + 3?\", \"answer\": \"It is 5.\\n#### 5\", \"id\": 7}\r\n\n   \n{\"answer\":\"#### 1,000\",\"question\":\"é\"}";
    let examples = read(text.as_bytes()).unwrap();
    let answer = "It is 5.\n#### 5";
    let columns = json!({ "answer": answer, "id": 7 }).as_object().unwrap().clone();
    let expected = Example {
        question: "2 + 3?".into(),
        solution: answer.into(),
        truth: "5".into(),
        columns,
        ..Example::default()
    };
    assert_eq!(examples[0], expected);
    assert_eq!((examples[1].question.as_str(), examples[1].truth.as_str()), ("é", "1000"));
    assert_eq!(examples.len(), 2);
}

#[test]
fn broken_lines() {
    check(b"{\"question\": \"q\", ", &["line 2", "not a JSON object", "EOF"]);
    check(b"{\n", &["line 2", "EOF", "at column 1"]);
    check(b"[1, 2]", &["line 2", "not a JSON object"]);
    check(b"{\"question\": \"q\", \"answer\": \"#### 1\"} x", &["line 2", "trailing"]);
    check(&b"[".repeat(100_000), &["line 2", "not a JSON object"]);
    check(b"{\"question\": \"caf\xe9\"}", &["line 2", "UTF-8", "byte 18"]);
}

#[test]
fn broken_fields() {
    check(br#"{"question": "q"}"#, &["line 2", "no field `answer`"]);
    check(br#"{"answer": "a"}"#, &["line 2", "no field `question`"]);
    check(br#"{"question": 5, "answer": "a"}"#, &["line 2", "`question` is a number", "text"]);
    check(br#"{"question": "q", "answer": null}"#, &["line 2", "`answer` is null"]);
    check(br#"{"question": "q", "answer": ["a"]}"#, &["line 2", "`answer` is a list"]);
    check(br#"{"question": "q", "answer": "5"}"#, &["row 2", "####"]);
    check(br#"{"question": NaN, "answer": "a"}"#, &["line 2", "`question` is null"]);
    check(br#"{"question": "q", "answer": -Infinity}"#, &["line 2", "`answer` is null"]);
    check(br#"{"question": "\ud83d", "answer": "a"}"#, &["line 2", "hex escape", "column 21"]);
    check(
        br##"{"answer": "So #### 1", "question": "q", "answer": "So #### 2"}"##,
        &["line 2", "two different", "`answer`"],
    );
    check(
        br#"{"question": "q", "question": null, "answer": "a"}"#,
        &["line 2", "two different", "`question`"],
    );
}

/// What Python's `json.dumps` writes, and what no field that is read may hold, between fields that are right.
#[test]
fn fields_that_nobody_reads_may_hold_anything() {
    let long = "[".repeat(1000) + &"]".repeat(1000);
    let values = [
        "NaN",
        "Infinity",
        "-Infinity",
        "[NaN,-Infinity , {\"a\":\tInfinity}]",
        "1e999",
        "-1e-999",
        "123456789012345678901234567890",
        r#""\ud83d""#,
        r#""NaN \" NaN, \\""#,
        r#"{"a": 1, "a": 2}"#,
        "null",
        "\"\u{2028}\"",
        &long,
    ];
    for value in values {
        let line = format!(
            r##"{{"question": "is it NaN, or Infinity?", "score": {value}, "score": 0, "answer": "So #### NaN"}}"##
        );
        let examples = read(line.as_bytes()).unwrap_or_else(|error| panic!("{value}: {error}"));
        assert_eq!(
            (examples[0].question.as_str(), examples[0].truth.as_str()),
            ("is it NaN, or Infinity?", "NaN")
        );
        // The last value of a field, unless one of them is nothing that a program can hold.
        assert!(examples[0].columns.get("score").is_none_or(|score| score == 0), "{value}");
    }
}

#[test]
fn what_is_no_json_even_in_a_field_that_nobody_reads() {
    for value in [
        "nan",
        "inf",
        "-NaN",
        "+Infinity",
        "1NaN",
        "1.NaN",
        "1e-Infinity",
        "--Infinity",
        "NaN5",
        "Infinity.5",
        "NaNNaN",
        "01",
        ".5",
        "5.",
        "'a'",
        "undefined",
        "\"a",
        "[1,]",
        "",
    ] {
        check(
            format!(r##"{{"question": "q", "score": {value}, "answer": "So #### 1"}}"##).as_bytes(),
            &["line 2", "not a JSON object", "at column"],
        );
    }
    check(br##"{"question": "q", "answer": "So #### 1",}"##, &["line 2", "trailing comma", "at column 41"]);
    check(br##"{NaN: 1, "question": "q", "answer": "So #### 1"}"##, &["line 2", "key must be a string"]);
    check(b"NaN", &["line 2", "not a JSON object"]);
}

#[test]
fn a_field_that_is_repeated_as_it_is() {
    let examples = read(br##"{"question": "q", "answer": "So #### 1", "question": "q"}"##).unwrap();
    assert_eq!(examples[0].question, "q");
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let line = "\u{feff}{\"question\": \"q\", \"answer\": \"#### 1\"}\r\n";
    for text in [line.to_owned(), line.repeat(2), format!("\u{feff}\n{line}"), format!("{line}\u{feff}")] {
        let examples = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(examples[0].question, "q");
    }
    assert!(matches!(read("\u{feff}".as_bytes()), Err(LoadError::Empty { .. })));
}

#[test]
fn other_encodings_are_named() {
    let text = "{\"question\": \"é\", \"answer\": \"#### 1\"}\n";
    let marked = format!("\u{feff}{text}");
    let utf16 =
        |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let utf32 = |text: &str, bytes: fn(u32) -> [u8; 4]| {
        text.chars().flat_map(|c| bytes(c.into())).collect::<Vec<u8>>()
    };
    for (bytes, name) in [
        (utf16(text, u16::to_le_bytes), "UTF-16LE"),
        (utf16(text, u16::to_be_bytes), "UTF-16BE"),
        (utf16(&marked, u16::to_le_bytes), "UTF-16LE"),
        (utf16(&marked, u16::to_be_bytes), "UTF-16BE"),
        (utf32(&marked, u32::to_le_bytes), "UTF-32LE"),
        (utf32(&marked, u32::to_be_bytes), "UTF-32BE"),
    ] {
        let error = read(&bytes).unwrap_err();
        assert!(matches!(&error, LoadError::Encoding { encoding, .. } if *encoding == name), "{error}");
        assert!(error.to_string().contains(&format!("iconv -f {name} -t UTF-8")), "{error}");
    }
}

#[test]
fn an_empty_file_is_refused() {
    assert!(matches!(read(b""), Err(LoadError::Empty { .. })));
    assert!(matches!(read(b"\n \n"), Err(LoadError::Empty { .. })));
}
