//! Letters of options.

use grpo_reward::Choice;
use proptest::prelude::*;

use crate::score;

fn equal(answer: &str, truth: &str) -> bool {
    score(&Choice::default(), truth, &format!("<answer>{answer}</answer>")) == 2.0
}

#[test]
fn a_letter_in_any_dress() {
    for answer in [
        "B",
        "b",
        "(B)",
        "(b)",
        "B.",
        "B)",
        "(B).",
        "**B**",
        "**(B)**",
        "**B.**",
        "**B**.",
        "\n B \n",
        "*B*",
        "__b__",
        "`B`",
        "$B$",
        r"\(B\)",
        r"\text{B}",
        r"$\boxed{\text{(B)}}$",
        "（B）",
        "B。",
    ] {
        for truth in ["B", "b", "(B)", "B."] {
            assert!(equal(answer, truth), "answer {answer:?}, truth {truth:?}");
        }
        assert!(!equal(answer, "C"), "answer {answer:?}");
    }
    assert_eq!(score(&Choice::default(), "E", "e"), 2.0);
}

#[test]
fn more_than_a_letter() {
    let answers = [
        "",
        "()",
        "**",
        "A or B",
        "A, B",
        "A B C D",
        "ABCD",
        "BB",
        "not B",
        "B?",
        "!B",
        "-B",
        "B. Paris",
        "B or",
        "2",
        "(B",
        "((B))",
        "\u{392}",
        "\u{ff22}",
        "B\u{200b}",
        "*A* *B*",
        "~~B~~",
        "**B",
        "$B",
        r"\text{not B}",
    ];
    for answer in answers {
        assert!(!equal(answer, "B"), "{answer:?}");
        assert!(!equal("B", answer), "truth {answer:?}");
        assert!(!equal(answer, answer), "truth {answer:?}");
    }
}

proptest! {
    #[test]
    fn only_one_of_the_letters_is_right(answer in r"\PC{0,6}") {
        let right = ('A'..='Z').filter(|letter| equal(&answer, &letter.to_string())).count();
        prop_assert!(right <= 1);
    }
}
