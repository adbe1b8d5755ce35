//! Mistakes that verifiers are known for, each named after it.

use grpo_core::Reward;
use grpo_reward::{
    Choice, Correctness, Countdown, CountdownTruth, LayoutFormat, Numeric, Quantity, StrictFormat, TagCount,
};

use crate::{completion, score};

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

/// All the tags in their order, and nothing in them.
#[test]
fn an_empty_layout_is_not_paid() {
    assert_eq!(score(&LayoutFormat::default(), "18", "<think></think><answer></answer>"), 0.0);
    assert_eq!(score(&LayoutFormat::default(), "18", "<think>\n\n</think>\n<answer>\n\n</answer>"), 0.0);
}

/// A tolerance that is a share of the larger number makes room for any answer that is large enough.
#[test]
fn a_large_answer_makes_no_room_for_itself() {
    let quantity = Quantity::new(0.0, 0.9).unwrap();
    assert_eq!(score(&quantity, "10", "19"), 2.0);
    assert_eq!(score(&quantity, "10", "99"), 0.0);
}

/// One letter of the four is right by chance, all four are always.
#[test]
fn naming_every_option_is_not_paid() {
    for text in ["A or B", "A, B, C, D", "A B C D", "(A) (B)", "not B"] {
        assert_eq!(score(&Choice::default(), "B", &answer(text)), 0.0, "{text:?}");
    }
}

/// Numbers written together, numbers used again, and the target itself are no solutions.
#[test]
fn a_countdown_is_played_by_its_rules() {
    let truth = CountdownTruth { numbers: vec![1, 2, 3], target: 15 };
    let score = |text: &str| Countdown::default().score(&truth, &completion(&answer(text)));
    assert_eq!(score("15"), 0.0);
    assert_eq!(score("12 + 3"), 0.0);
    assert_eq!(score("3 * (3 + 2)"), 0.0);
    assert_eq!(score("3 * (3 + 2) * 1"), 0.0);
    assert_eq!(score("1 + 2 + 3 = 15"), 0.0);
}
