//! Verifiers by name.

use grpo_reward::{Row, Rubric, Verifier, VerifierExample};
use serde_json::{Value, json};

fn read(settings: Value) -> Result<Verifier, String> {
    serde_json::from_value(settings).map_err(|error| error.to_string())
}

fn versions(verifier: &Verifier) -> Vec<String> {
    let rubric = verifier.add_to(Rubric::new(), "one", 1.0).unwrap();
    rubric.versions().map(str::to_owned).collect()
}

#[test]
fn every_verifier_pays_for_its_right_example_alone() {
    for example in VerifierExample::all() {
        let [right, wrong] = example.earned().unwrap();
        assert!(right > wrong, "{example:?}: {right} {wrong}");
    }
}

#[test]
fn every_verifier_is_written_and_read() {
    for (kind, VerifierExample { verifier, .. }) in Verifier::KINDS.iter().zip(VerifierExample::all()) {
        let written = json!(verifier);
        assert_eq!(written["kind"], *kind);
        assert_eq!(read(written).unwrap(), verifier);
    }
    // The enum has no kind that is not listed.
    let unknown = read(json!({ "kind": "?" })).unwrap_err();
    for kind in Verifier::KINDS {
        assert!(unknown.contains(&format!("`{kind}`")), "{unknown}");
    }
    assert_eq!(unknown.matches('`').count(), 2 * (Verifier::KINDS.len() + 1), "{unknown}");
}

#[test]
fn numbers_are_the_verifiers_own() {
    let numeric = read(json!({ "kind": "numeric" })).unwrap();
    assert_eq!(
        versions(&numeric),
        Rubric::<str>::new().with("one", 1.0, grpo_reward::Numeric::default()).versions().collect::<Vec<_>>()
    );
    assert_ne!(versions(&numeric), versions(&read(json!({ "kind": "numeric", "reward": 1.0 })).unwrap()));
    let miles = json!({ "kind": "quantity", "absolute": 0.5, "synonyms": { "miles": "mi" } });
    let rubric = read(miles).unwrap().add_to(Rubric::new(), "length", 1.0).unwrap();
    let completion = |text: &str| grpo_core::Completion {
        text: format!("<answer>{text}</answer>"),
        n_tokens: 5,
        finish: grpo_core::Finish::Stop,
    };
    for (text, earned) in [("5.4 miles", 2.0), ("5.6 miles", 0.0), ("5.4 m", 0.0)] {
        assert_eq!(rubric.score(&Row::from("5 mi"), &completion(text)).unwrap().total, earned, "{text}");
    }
}

#[test]
fn rows_that_cannot_be_scored_are_named() {
    for (settings, truth, columns, expected) in [
        (
            json!({ "kind": "countdown", "numbers": "nums" }),
            "ten",
            json!({ "nums": [1] }),
            "\"ten\" is no whole number",
        ),
        (
            json!({ "kind": "countdown", "numbers": "nums" }),
            "10",
            json!({ "n": [1] }),
            "no column `nums`, only n",
        ),
        (
            json!({ "kind": "countdown", "numbers": "nums" }),
            "10",
            json!({ "nums": "1, 2" }),
            "`nums` is no list of whole numbers",
        ),
        (
            json!({ "kind": "instructions", "column": "rules" }),
            "",
            json!({ "rules": ["loud"] }),
            "`rules` is no list of instructions",
        ),
    ] {
        let rubric = read(settings).unwrap().add_to(Rubric::new(), "one", 1.0).unwrap();
        let row = Row { truth: truth.into(), columns: columns.as_object().unwrap().clone() };
        let error = rubric.check(&row).unwrap_err().to_string();
        assert!(error.contains("reward `one` failed") && error.contains(expected), "{error}");
        let completion =
            grpo_core::Completion { text: "1".into(), n_tokens: 1, finish: grpo_core::Finish::Stop };
        assert_eq!(rubric.score(&row, &completion).unwrap_err().to_string(), error);
    }
}

#[test]
fn wrong_settings_are_named() {
    for (settings, expected) in [
        (json!({ "kind": "numeric", "rewards": 1.0 }), "unknown field `rewards`"),
        (json!({ "kind": "numeric", "reward": "two" }), "invalid type: string"),
        (json!({ "kind": "must_match" }), "missing field `pattern`"),
        (json!({ "kind": "quantity", "tolerance": 1.0 }), "unknown field `tolerance`"),
        (json!({ "kind": "soft_overlong", "max_tokens": -1, "cache": 1 }), "-1"),
    ] {
        let error = read(settings).unwrap_err();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    for (settings, expected) in [
        (json!({ "kind": "must_match", "pattern": "(" }), "no regular expression"),
        (json!({ "kind": "quantity", "relative": 1.0 }), "tolerance"),
        (json!({ "kind": "layout_format", "reasoning": "a", "answer": "a" }), "names of the tags"),
        (json!({ "kind": "soft_overlong", "max_tokens": 1, "cache": 2 }), "below 0"),
        (json!({ "kind": "repetition", "ngram_size": 0, "max_penalty": -1.0 }), "at least one word"),
    ] {
        let error = read(settings).unwrap().add_to(Rubric::new(), "one", 1.0).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
