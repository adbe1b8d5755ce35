//! Verdicts beside those of lm-evaluation-harness on answers of Qwen2.5-Coder-0.5B-Instruct to problems of GSM8K, before and
//! during training. `.ci/lm-eval/run` checks that the harness gives the recorded ones.

use grpo_core::Reward;
use grpo_reward::{Correctness, LastNumber, extract_answer};
use serde::Deserialize;

use crate::score;

#[derive(Deserialize)]
struct Answer {
    truth: String,
    completion: String,
    /// The harness's verdict on the text after `####`, which is what is between the tags here.
    strict_match: bool,
    /// Its verdict on the last number.
    flexible_extract: bool,
}

fn answers() -> Vec<Answer> {
    let lines = include_str!("../fixtures/gsm8k_answers.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The answers on which our verdict differs from the harness's.
fn different<'a>(
    answers: &'a [Answer],
    reward: &impl Reward<str>,
    harness: impl Fn(&Answer) -> bool,
) -> Vec<&'a Answer> {
    let is_right = |answer: &Answer| score(reward, &answer.truth, &answer.completion) > 0.0;
    answers.iter().filter(|answer| is_right(answer) != harness(answer)).collect()
}

#[test]
fn strict_verdicts_differ_only_where_more_than_a_number_is_between_the_tags() {
    let answers = answers();
    assert!(answers.len() >= 300);
    let different = different(&answers, &Correctness::default(), |answer| answer.strict_match);
    // The harness takes the number that comes first: that of `17 stickers`, and the 1 of `1 + 4 = 5`.
    for answer in &different {
        let text = extract_answer(&answer.completion);
        assert!(answer.strict_match && text.parse::<f64>().is_err(), "{text}");
    }
    assert_eq!(different.len(), 9);
}

#[test]
fn lenient_verdicts_differ_only_where_a_box_or_trailing_zeros_tell_the_answer() {
    let answers = answers();
    let different = different(&answers, &LastNumber::default(), |answer| answer.flexible_extract);
    // The harness takes a number after the box, and compares `3.0` and `3` as text.
    for answer in &different {
        let is_boxed = answer.completion.contains(&format!("\\boxed{{{}}}", answer.truth));
        let has_zeros = answer.completion.ends_with(&format!("{}.0", answer.truth));
        assert!(!answer.flexible_extract && (is_boxed || has_zeros), "{}", answer.completion);
    }
    assert_eq!(different.len(), 8);
}
