//! Mistakes that verifiers are known for, each named after it.

use grpo_reward::{Correctness, Numeric, StrictFormat, TagCount};

use crate::score;

fn answer(text: &str) -> String {
    format!("<reasoning>\nHalf.\n</reasoning>\n<answer>\n{text}\n</answer>\n")
}

#[test]
fn a_final_point_is_no_mistake() {
    assert_eq!(score(&Numeric::default(), "18", &answer("18.")), 2.0);
}

#[test]
fn a_currency_is_no_mistake() {
    assert_eq!(score(&Numeric::default(), "18", &answer("$18")), 2.0);
}

#[test]
fn a_thousands_separator_is_no_mistake() {
    assert_eq!(score(&Numeric::default(), "1200", &answer("1,200")), 2.0);
    assert_eq!(score(&Numeric::default(), "1,200", &answer("1200")), 2.0);
}

#[test]
fn a_typographic_minus_is_no_mistake() {
    assert_eq!(score(&Numeric::default(), "-5", &answer("\u{2212}5")), 2.0);
    assert_eq!(score(&Numeric::default(), "5", &answer("\u{2212}5")), 0.0);
}

/// A prompt that ends with a prefilled tag: the completion without the tag is half of the layout, and only
/// whoever knows the prompt can put it back.
#[test]
fn a_prefilled_tag_belongs_to_the_completion() {
    let whole = answer("18");
    let sampled = whole.strip_prefix("<reasoning>\n").unwrap();
    assert_eq!(score(&StrictFormat::default(), "18", &whole), 0.5);
    assert_eq!(score(&StrictFormat::default(), "18", sampled), 0.0);
    assert_eq!(score(&TagCount::default(), "18", sampled), 0.375);
}

/// The right answer somewhere in the text is no right answer.
#[test]
fn an_answer_in_the_reasoning_does_not_count() {
    let text = "<reasoning>\n18\n</reasoning>\n<answer>\n17\n</answer>\n";
    assert_eq!(score(&Correctness::default(), "18", text), 0.0);
    assert_eq!(score(&Numeric::default(), "18", text), 0.0);
}

/// A list of guesses is not paid for holding the right one, nor is a pile of tags.
#[test]
fn more_of_it_is_not_paid() {
    assert_eq!(score(&Numeric::default(), "18", &answer("17, 18, 19")), 0.0);
    assert_eq!(score(&TagCount::default(), "18", &answer("18").repeat(3)), 0.0);
}
