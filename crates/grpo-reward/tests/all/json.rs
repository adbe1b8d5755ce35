//! JSON, with and without a schema.

use grpo_reward::Json;
use proptest::prelude::*;

use crate::score;

fn is_json(answer: &str) -> bool {
    score(&Json::default(), "", &format!("<answer>{answer}</answer>")) == 0.5
}

#[test]
fn objects_and_arrays() {
    for answer in ["{}", "[]", "\n{ \"a\": [1, 2.5e3, null, \"x\"] }\n", "[[[]]]"] {
        assert!(is_json(answer), "{answer:?}");
    }
}

#[test]
fn anything_else() {
    let answers = [
        "",
        "18",
        "\"a\"",
        "null",
        "true",
        "{a: 1}",
        "{'a': 1}",
        "[1,]",
        "[1] [2]",
        "{} and more",
        "see: {}",
        "```json\n{}\n```",
        "[NaN]",
        "[1e999]",
        "{\"a\": 1",
        "\u{feff}{}",
    ];
    for answer in answers {
        assert!(!is_json(answer), "{answer:?}");
    }
}

#[test]
fn hostile_texts_are_wrong() {
    for text in [
        "[".repeat(1_000_000),
        format!("{}{}", "[".repeat(1_000), "]".repeat(1_000)),
        "{\"a\":".repeat(200_000),
    ] {
        assert!(!is_json(&text));
    }
    assert!(is_json(&format!("{}{}", "[".repeat(127), "]".repeat(127))));
}

proptest! {
    #[test]
    fn any_text_has_a_score(text in any::<String>()) {
        is_json(&text);
    }
}

#[cfg(feature = "json-schema")]
mod schema {
    use grpo_reward::{JsonSchema, SettingError};

    use crate::score;

    const FRUIT: &str = r#"{
        "type": "object",
        "properties": {
            "name": { "type": "string", "pattern": "^[a-z]+$" },
            "number": { "type": "integer", "minimum": 0 }
        },
        "required": ["name"],
        "additionalProperties": false
    }"#;

    #[test]
    fn what_a_schema_accepts() {
        let schema = JsonSchema::new(FRUIT).unwrap();
        let cases = [
            (r#"{"name": "apple", "number": 18}"#, true),
            (r#"{"name": "apple"}"#, true),
            (r#"{"name": "Apple"}"#, false),
            (r#"{"name": "apple", "number": -1}"#, false),
            (r#"{"name": "apple", "number": "18"}"#, false),
            (r#"{"name": "apple", "colour": "red"}"#, false),
            ("{}", false),
            ("[]", false),
            ("{", false),
            ("", false),
        ];
        for (answer, right) in cases {
            let text = format!("<answer>{answer}</answer>");
            assert_eq!(score(&schema, "", &text), if right { 1.0 } else { 0.0 }, "{answer}");
        }
        assert_eq!(score(&JsonSchema::new(r#"{"type": "integer"}"#).unwrap(), "", "18"), 1.0);
    }

    #[test]
    fn a_schema_that_is_none_is_an_error() {
        let look_around = r#"{"pattern": "(?=a)b"}"#;
        let elsewhere = r#"{"$ref": "https://example.com/schema.json"}"#;
        for schema in ["", "{", "18", r#"{"type": "fruit"}"#, look_around, elsewhere] {
            let error = JsonSchema::new(schema).unwrap_err();
            assert!(matches!(error, SettingError::Schema { .. }), "{schema}: {error}");
        }
    }

    /// With an engine that backtracks, this pattern takes a time that doubles with every letter.
    #[test]
    fn a_pattern_cannot_be_made_slow() {
        let schema = JsonSchema::new(r#"{"items": {"pattern": "^(a|a)*$"}}"#).unwrap();
        let text = format!(r#"["{}b"]"#, "a".repeat(100_000));
        assert_eq!(score(&schema, "", &text), 0.0);
    }
}
