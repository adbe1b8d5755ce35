//! Datasets in the shapes that people have: fixtures, read by configuration alone.

use std::path::Path;

use grpo_data::{Columns, Example, LoadError, Split, Truth, Turn, load};
use serde_json::json;

fn read(file: &str, columns: &Columns) -> Result<Vec<Example>, LoadError> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    load(fixtures.join(file), &Split::train(), columns)
}

fn truths(examples: &[Example]) -> Vec<&str> {
    examples.iter().map(|example| example.truth.as_str()).collect()
}

#[test]
fn gsm8k_as_csv() {
    let examples = read("gsm8k.csv", &Columns::default()).unwrap();
    assert_eq!(truths(&examples), ["12", "1000"]);
    assert_eq!(
        examples[1].question,
        "Mia had 1,500 stamps, and sold \"a third\" of them. How many are left?"
    );
    assert!(examples[0].solution.starts_with("Each jug holds 3"));
    assert_eq!(examples[0].columns["answer"], examples[0].solution.as_str());
}

#[test]
fn math_by_its_levels() {
    let columns = Columns {
        question: "problem".into(),
        answer: "solution".into(),
        truth: Truth::Boxed,
        ..Columns::default()
    };
    assert_eq!(truths(&read("math.jsonl", &columns).unwrap()), ["5", r"\frac{5}{6}", "8"]);
    let filtered =
        |filter: &str| read("math.jsonl", &Columns { filter: Some(filter.into()), ..columns.clone() });
    let hard = filtered("level[-1:] | int >= 2 and type != 'Algebra'").unwrap();
    assert_eq!((truths(&hard), &hard[0].columns["level"]), (vec!["8"], &json!("Level 3")));
    assert!(!hard[0].columns.contains_key("problem"));
    let error = filtered("level == 'Level 9'").unwrap_err().to_string();
    assert!(error.contains("`filter` is true for no row"), "{error}");
}

#[test]
fn countdown_by_a_template() {
    let columns = Columns {
        answer: "target".into(),
        truth: Truth::Whole,
        prompt: Some("Make {{ target }} of {{ nums | join(', ') }}.".into()),
        ..Columns::default()
    };
    let examples = read("countdown.jsonl", &columns).unwrap();
    assert_eq!((examples[0].question.as_str(), examples[0].truth.as_str()), ("Make 24 of 3, 8, 1.", "24"));
    assert_eq!(examples[0].columns["nums"], json!([3, 8, 1]));
}

#[test]
fn choices_by_two_templates() {
    let columns = Columns {
        prompt: Some(
            "{{ question }}\n{% for choice in choices %}{{ 'ABCD'[loop.index0] }}. {{ choice }}\n{% endfor %}".into(),
        ),
        truth: Truth::Template("{{ 'ABCD'[answer] }}".into()),
        ..Columns::default()
    };
    let examples = read("choices.jsonl", &columns).unwrap();
    assert_eq!(truths(&examples), ["B", "C"]);
    assert_eq!(
        examples[0].question,
        "Which planet is the largest?\nA. Mars\nB. Jupiter\nC. Venus\nD. Earth\n"
    );
    assert_eq!(examples[0].columns["answer"], 1);
}

#[test]
fn conversations() {
    let columns = Columns { question: "messages".into(), answer: "messages".into(), ..Columns::default() };
    let examples = read("chat.jsonl", &columns).unwrap();
    assert_eq!(truths(&examples), ["42", "48"]);
    let turn = |role: &str, content: &str| Turn { role: role.into(), content: content.into() };
    assert_eq!(
        examples[0].history,
        [turn("system", "You are brief."), turn("user", "Hello!"), turn("assistant", "Hello.")]
    );
    assert_eq!(examples[0].question, "How much is 6 times 7?");
    assert_eq!((examples[1].question.as_str(), examples[1].history.len()), ("And 6 times 8?", 0));
    assert_eq!(examples[0].columns.keys().collect::<Vec<_>>(), ["source"]);
}

#[test]
fn what_does_not_fit_is_named() {
    let math = || Columns {
        question: "problem".into(),
        answer: "solution".into(),
        truth: Truth::Boxed,
        ..Columns::default()
    };
    let prompt =
        |prompt: &str| Columns { prompt: Some(prompt.into()), question: "question".into(), ..math() };
    let filter = |filter: &str| Columns { filter: Some(filter.into()), ..math() };
    for (file, columns, expected) in [
        ("math.jsonl", prompt("{{ problem"), "`prompt` of the dataset's columns: syntax error"),
        ("math.jsonl", prompt("{{ question }}"), "line 1: `prompt` fails: there is no column `question`"),
        ("math.jsonl", prompt("{{ question }}"), "the columns are level, problem, solution, type"),
        ("math.jsonl", filter("level =="), "`filter` of the dataset's columns: syntax error"),
        ("math.jsonl", filter("length > 3"), "line 1: `filter` fails"),
        ("math.jsonl", filter("level"), "it is a string, neither true nor false"),
        ("math.jsonl", filter("verified"), "line 1: `filter` fails: there is no column `verified`"),
        (
            "math.jsonl",
            prompt("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}"),
            "`prompt` fails",
        ),
        (
            "math.jsonl",
            Columns { prompt: Some("{{ problem }}".into()), ..math() },
            "the place of the column `question`",
        ),
        ("gsm8k.csv", math(), "no column `problem`; found: question, answer"),
        (
            "chat.jsonl",
            Columns { question: "source".into(), answer: "source".into(), ..Columns::default() },
            "give its answer away",
        ),
        (
            "countdown.jsonl",
            Columns { question: "nums".into(), answer: "target".into(), ..Columns::default() },
            "`nums` has no text `role` in message 1",
        ),
    ] {
        let error = read(file, &columns).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn malformed_csv() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    for (text, expected) in [
        (&b"question,answer\nq,#### 1\nq,a,b\n"[..], "row 2 cannot be read: it has 3 values for 2 columns"),
        (b"question,answer\nq,#### 1\n\xff,#### 2\n", "row 2 cannot be read: its column 1 is not UTF-8"),
        (b"question,answer\n", "no row"),
        (b"question,answer,answer\nq,#### 1,#### 2\n", "it has several columns `answer`"),
        (b"", "no column `question`; found: nothing"),
        (b"question,answer\nq,5\n", "the answer of row 1 has no result"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = load(&path, &Split::train(), &Columns::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    std::fs::write(&path, "\u{feff}question;x,answer\r\nq,#### 1\r\n").unwrap();
    let columns = Columns { question: "question;x".into(), ..Columns::default() };
    assert_eq!(load(&path, &Split::train(), &columns).unwrap()[0].question, "q");
}
