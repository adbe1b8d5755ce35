//! Sums of rewards, and rewards that fail.

use grpo_core::Completion;
use grpo_reward::{Numeric, RewardError, Rubric, Scores, SettingError, SoftFormat, TagCount};

use crate::completion;

const RIGHT: &str = "<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n";

fn ungated(total: f32, each: &[f32]) -> Scores {
    Scores { total, each: each.to_vec(), paid: each.to_vec() }
}

#[test]
fn gsm8k() {
    let owned = Rubric::<String>::gsm8k();
    let borrowed = Rubric::<str>::gsm8k();
    let check = |text: &str, each: [f32; 2]| {
        let expected = Ok(ungated(each[0] + each[1], &each));
        assert_eq!(owned.score(&"18".to_owned(), &completion(text)), expected);
        assert_eq!(borrowed.score("18", &completion(text)), expected);
    };
    check(RIGHT, [2.0, 0.5]);
    check("<answer>18</answer>", [2.0, 0.0]);
    check(&RIGHT.replace("18", "17"), [0.0, 0.5]);
    check("", [0.0, 0.0]);
}

#[test]
fn reward_weights_are_in_the_total_only() {
    let rubric = Rubric::<str>::new()
        .with("correctness", 0.5, Numeric::default())
        .with("tags", 2.0, TagCount::default())
        .with("length", -1.0, |_: &str, completion: &Completion| completion.n_tokens as f32)
        .with("watched", 0.0, |_: &str, _: &Completion| 7.0);
    let scores = rubric.score("18", &completion(RIGHT)).unwrap();
    assert_eq!(scores, ungated(1.0 + 1.0 - 1.0, &[2.0, 0.5, 1.0, 7.0]));
    assert_eq!(rubric.names().collect::<Vec<_>>(), ["correctness", "tags", "length", "watched"]);
    assert_eq!(rubric.reward_weights().collect::<Vec<_>>(), [0.5, 2.0, -1.0, 0.0]);
    assert_eq!((rubric.len(), rubric.is_empty()), (4, false));
    assert_eq!(format!("{:?}", Rubric::<str>::gsm8k()), r#"{"correctness": 1.0, "format": 1.0}"#);
}

#[test]
fn no_part_pays_nothing() {
    let rubric = Rubric::<str>::default();
    assert!(rubric.is_empty());
    assert_eq!(rubric.score("18", &completion(RIGHT)), Ok(ungated(0.0, &[])));
}

#[test]
fn a_name_is_unique() {
    let rubric = Rubric::<str>::gsm8k().with("format", 3.0, SoftFormat::default());
    assert_eq!(rubric.names().collect::<Vec<_>>(), ["correctness", "format"]);
    let scores = rubric.score("18", &completion("<reasoning></reasoning><answer>18</answer>")).unwrap();
    assert_eq!(scores, ungated(3.5, &[2.0, 0.5]));
}

/// A reward of whatever the text says for it: `a=1 b=-2`.
fn named(name: &'static str) -> impl Fn(&str, &Completion) -> f32 {
    move |_, completion| {
        let value =
            completion.text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}

#[test]
fn a_gated_part_counts_behind_an_open_gate_only() {
    let rubric = Rubric::<str>::new()
        .with("a", 0.0, named("a"))
        .with("b", 2.0, named("b"))
        .with("c", 1.0, named("c"))
        .gate("b", "a")
        .unwrap()
        .gate("c", "b")
        .unwrap();
    let check = |text: &str, total: f32, each: [f32; 3], paid: [f32; 3]| {
        let expected = Scores { total, each: each.to_vec(), paid: paid.to_vec() };
        assert_eq!(rubric.score("", &completion(text)), Ok(expected), "{text}");
    };
    check("a=1 b=3 c=5", 11.0, [1.0, 3.0, 5.0], [1.0, 3.0, 5.0]);
    // A gate is what its reward is, not what it is paid: `c` counts behind a shut `b`.
    check("b=3 c=5", 5.0, [0.0, 3.0, 5.0], [0.0, 0.0, 5.0]);
    check("a=1 c=5", 0.0, [1.0, 0.0, 5.0], [1.0, 0.0, 0.0]);
    // Punishment is no open gate, and a shut gate takes punishment away too.
    check("a=-1 b=3", 0.0, [-1.0, 3.0, 0.0], [-1.0, 0.0, 0.0]);
    check("b=-3", 0.0, [0.0, -3.0, 0.0], [0.0, 0.0, 0.0]);
}

#[test]
fn a_gate_of_an_unknown_name_is_an_error() {
    for (name, by, missing) in [("x", "format", "x"), ("format", "y", "y")] {
        let error = Rubric::<str>::gsm8k().gate(name, by).unwrap_err();
        let known = vec!["correctness".to_owned(), "format".to_owned()];
        assert_eq!(error, SettingError::NoSuchPart { name: missing.to_owned(), known });
        assert!(error.to_string().contains("has `correctness`, `format`"), "{error}");
    }
}

#[test]
fn a_part_that_is_replaced_loses_its_gate() {
    let wrong = RIGHT.replace("18", "17");
    let gated = Rubric::<str>::gsm8k().gate("format", "correctness").unwrap();
    assert_eq!(gated.score("18", &completion(&wrong)).unwrap().total, 0.0);
    let replaced = gated.with("format", 1.0, SoftFormat::default());
    assert_eq!(replaced.score("18", &completion(&wrong)).unwrap().total, 0.5);
}

#[test]
fn what_is_not_finite_is_an_error_behind_a_shut_gate_too() {
    let rubric = Rubric::<str>::gsm8k().with("nan", 1.0, |_: &str, _: &Completion| f32::NAN);
    let rubric = rubric.gate("nan", "correctness").unwrap();
    let error = rubric.score("18", &completion("17")).unwrap_err();
    assert!(matches!(&error, RewardError::NotFinite { reward, .. } if reward == "nan"), "{error}");
}

#[test]
fn the_truth_can_be_any_type() {
    let rubric = Rubric::<[i32]>::new().with("sum", 1.0, |truth: &[i32], completion: &Completion| {
        f32::from(u8::from(completion.text == truth.iter().sum::<i32>().to_string()))
    });
    assert_eq!(rubric.score(&[17, 1], &completion("18")).unwrap().total, 1.0);
}

#[test]
fn a_panic_is_an_error() {
    let rubric = Rubric::<str>::gsm8k().with("parse", 1.0, |_: &str, completion: &Completion| {
        completion.text.parse::<f32>().expect("a number")
    });
    let error = rubric.score("18", &completion(RIGHT)).unwrap_err();
    let display = error.to_string();
    for part in ["`parse`", "a number: ParseFloatError", r"<reasoning>\nHalf.\n", "return 0.0"] {
        assert!(display.contains(part), "{display}");
    }
    let RewardError::Panicked { reward, completion: whole, .. } = error else { panic!("{error}") };
    assert_eq!((reward.as_str(), whole.as_deref().unwrap()), ("parse", RIGHT));
    // The rubric still works.
    assert_eq!(rubric.score("18", &completion("18")).unwrap().each, [2.0, 0.0, 18.0]);
}

#[test]
fn panics_without_a_text() {
    let rubric = Rubric::<str>::new().with("odd", 1.0, |_: &str, completion: &Completion| -> f32 {
        if completion.text.is_empty() { panic!("literal") } else { std::panic::panic_any(5) }
    });
    let message = |text: &str| match rubric.score("", &completion(text)).unwrap_err() {
        RewardError::Panicked { message, .. } => message,
        other => panic!("{other}"),
    };
    assert_eq!((message("").as_str(), message("a").as_str()), ("literal", "without a message"));
}

#[test]
fn what_is_not_finite_is_an_error() {
    let returns = |value: f32, weight: f32| {
        Rubric::<str>::new()
            .with("ratio", weight, move |_: &str, _: &Completion| value)
            .score("", &completion("x"))
    };
    for (value, weight) in
        [(f32::NAN, 1.0), (f32::INFINITY, 1.0), (f32::NAN, 0.0), (1.0, f32::INFINITY), (f32::MAX, 2.0)]
    {
        let error = returns(value, weight).unwrap_err();
        assert!(matches!(&error, RewardError::NotFinite { reward, .. } if reward == "ratio"), "{error}");
        assert!(error.to_string().contains("`ratio`"), "{error}");
    }
    assert!(returns(f32::MAX, 1.0).is_ok());
}

#[test]
fn a_long_completion_is_cut_in_the_message_only() {
    let text = "ä".repeat(5000);
    let rubric = Rubric::<str>::new().with("nan", 1.0, |_: &str, _: &Completion| f32::NAN);
    let error = rubric.score("", &completion(&text)).unwrap_err();
    assert!(error.to_string().len() < 1000);
    assert!(error.to_string().contains("10000 bytes"));
    assert!(matches!(error, RewardError::NotFinite { completion, .. } if completion == text));
}

#[test]
fn is_shared_between_threads() {
    let rubric = Rubric::<str>::gsm8k();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert_eq!(rubric.score("18", &completion(RIGHT)).unwrap().total, 2.5));
        }
    });
}
