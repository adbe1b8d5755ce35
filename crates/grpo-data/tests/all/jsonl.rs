use std::fs;

use grpo_data::{LoadError, Problem, Split, load};

fn read(content: &[u8]) -> Result<Vec<Problem>, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    fs::write(&path, content).unwrap();
    load(path, Split::Train)
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
fn one_problem_per_line() {
    let text = "{\"question\": \"2 + 3?\", \"answer\": \"It is 5.\\n#### 5\", \"id\": 7}\r\n\n   \n{\"answer\":\"#### 1,000\",\"question\":\"é\"}";
    let problems = read(text.as_bytes()).unwrap();
    let expected =
        Problem { question: "2 + 3?".into(), solution: "It is 5.\n#### 5".into(), truth: "5".into() };
    assert_eq!(problems[0], expected);
    assert_eq!((problems[1].question.as_str(), problems[1].truth.as_str()), ("é", "1000"));
    assert_eq!(problems.len(), 2);
}

#[test]
fn broken_lines() {
    check(b"{\"question\": \"q\", ", &["line 2", "not a JSON object", "EOF"]);
    check(b"[1, 2]", &["line 2", "not a JSON object"]);
    check(b"{\"question\": \"q\", \"answer\": \"#### 1\"} x", &["line 2", "trailing"]);
    check(&b"[".repeat(100_000), &["line 2", "not a JSON object"]);
    check(b"{\"question\": \"caf\xe9\"}", &["line 2", "UTF-8", "byte 18"]);
}

#[test]
fn broken_fields() {
    check(br#"{"question": "q"}"#, &["line 2", "no field `answer`"]);
    check(br#"{"answer": "a"}"#, &["line 2", "no field `question`"]);
    check(br#"{"question": 5, "answer": "a"}"#, &["line 2", "`question` is a number", "string"]);
    check(br#"{"question": "q", "answer": null}"#, &["line 2", "`answer` is null"]);
    check(br#"{"question": "q", "answer": ["a"]}"#, &["line 2", "`answer` is a list"]);
    check(br#"{"question": "q", "answer": "5"}"#, &["row 2", "####"]);
}

#[test]
fn an_empty_file_is_refused() {
    assert!(matches!(read(b""), Err(LoadError::Empty { .. })));
    assert!(matches!(read(b"\n \n"), Err(LoadError::Empty { .. })));
}
