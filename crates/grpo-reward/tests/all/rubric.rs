//! Sums of rewards, and rewards that fail.

use grpo_core::Completion;
use grpo_reward::{Numeric, RewardError, Rubric, Scores, SoftFormat, TagCount};

use crate::completion;

const RIGHT: &str = "<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n";

#[test]
fn gsm8k() {
    let owned = Rubric::<String>::gsm8k();
    let borrowed = Rubric::<str>::gsm8k();
    let check = |text: &str, each: [f32; 2]| {
        let expected = Ok(Scores { total: each[0] + each[1], each: each.to_vec() });
        assert_eq!(owned.score(&"18".to_owned(), &completion(text)), expected);
        assert_eq!(borrowed.score("18", &completion(text)), expected);
    };
    check(RIGHT, [2.0, 0.5]);
    check("<answer>18</answer>", [2.0, 0.0]);
    check(&RIGHT.replace("18", "17"), [0.0, 0.5]);
    check("", [0.0, 0.0]);
}

#[test]
fn weights_are_in_the_total_only() {
    let rubric = Rubric::<str>::new()
        .with("correctness", 0.5, Numeric::default())
        .with("tags", 2.0, TagCount::default())
        .with("length", -1.0, |_: &str, completion: &Completion| completion.n_tokens as f32)
        .with("watched", 0.0, |_: &str, _: &Completion| 7.0);
    let scores = rubric.score("18", &completion(RIGHT)).unwrap();
    assert_eq!(scores, Scores { total: 1.0 + 1.0 - 1.0, each: vec![2.0, 0.5, 1.0, 7.0] });
    assert_eq!(rubric.names().collect::<Vec<_>>(), ["correctness", "tags", "length", "watched"]);
    assert_eq!(rubric.weights().collect::<Vec<_>>(), [0.5, 2.0, -1.0, 0.0]);
    assert_eq!((rubric.len(), rubric.is_empty()), (4, false));
    assert_eq!(format!("{:?}", Rubric::<str>::gsm8k()), r#"{"correctness": 1.0, "format": 1.0}"#);
}

#[test]
fn no_part_pays_nothing() {
    let rubric = Rubric::<str>::default();
    assert!(rubric.is_empty());
    assert_eq!(rubric.score("18", &completion(RIGHT)), Ok(Scores { total: 0.0, each: vec![] }));
}

#[test]
fn a_name_is_unique() {
    let rubric = Rubric::<str>::gsm8k().with("format", 3.0, SoftFormat::default());
    assert_eq!(rubric.names().collect::<Vec<_>>(), ["correctness", "format"]);
    let scores = rubric.score("18", &completion("<reasoning></reasoning><answer>18</answer>")).unwrap();
    assert_eq!(scores, Scores { total: 3.5, each: vec![2.0, 0.5] });
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
    assert_eq!((reward.as_str(), whole.as_str()), ("parse", RIGHT));
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
