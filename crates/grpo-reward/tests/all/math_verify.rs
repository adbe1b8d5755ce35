//! Verdicts of the Python package math-verify on the cases of its own tests; `.ci/math-verify/run` makes the file of them.
#![allow(clippy::print_stdout)] // each disagreement

use grpo_reward::MathEquality;

use crate::score;

#[derive(serde::Deserialize)]
struct Case {
    gold: String,
    answer: String,
    /// What the package says by default.
    default: bool,
    /// What it says with the settings of its test.
    as_tested: bool,
}

#[test]
#[ignore = "reads the file that GRPO_MATH_VERIFY_CASES names"]
fn verdicts_are_those_of_math_verify() {
    let path =
        std::env::var("GRPO_MATH_VERIFY_CASES").expect("set GRPO_MATH_VERIFY_CASES to a file of cases");
    let lines = std::fs::read_to_string(path).unwrap();
    let cases: Vec<Case> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut agree, mut agree_as_tested) = (0, 0);
    for Case { gold, answer, default, as_tested } in &cases {
        let equal = score(&MathEquality::default(), gold, answer) > 0.0;
        agree += usize::from(equal == *default);
        agree_as_tested += usize::from(equal == *as_tested);
        if equal != *default {
            let [gold_part, answer_part] = [gold, answer].map(|text| MathEquality::extract(text));
            println!(
                "equal here: {equal}, there: {default}: {gold_part:?} in {gold:?}, {answer_part:?} in {answer:?}"
            );
        }
    }
    println!("{agree} of {} verdicts agree; {agree_as_tested} with the settings of its tests", cases.len());
    assert!(100 * agree >= 98 * cases.len());
}
