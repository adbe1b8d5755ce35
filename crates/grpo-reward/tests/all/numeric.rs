//! Numbers written in different ways.

use grpo_reward::Numeric;
use proptest::prelude::*;

use crate::score;

fn equal(answer: &str, truth: &str) -> bool {
    score(&Numeric::default(), truth, &format!("<answer>{answer}</answer>")) == 2.0
}

#[test]
fn equal_numbers() {
    let groups: [&[&str]; 8] = [
        &["18", "18.", "18.0", "18.00", "018", "+18", "$18", "+$18", "$18.00", " 18 ", "\n18\n"],
        &["1200", "1,200", "$1,200", "1,200.0", "+1,200."],
        &["-5", "\u{2212}5", "-5.0", "-$5", "\u{2212}$5.00", "-05"],
        &["0", "-0", "+0", "0.0", ".0", "$0.00", "000"],
        &["0.5", ".5", "+.50", "$.5"],
        &["-0.25", "-.25", "\u{2212}0.250"],
        // Beyond the precision of floats: one group each.
        &["9007199254740993", "9,007,199,254,740,993"],
        &["9007199254740992"],
    ];
    for (i, group) in groups.iter().enumerate() {
        for (j, other) in groups.iter().enumerate() {
            for answer in *group {
                for truth in *other {
                    assert_eq!(equal(answer, truth), i == j, "answer {answer:?}, truth {truth:?}");
                }
            }
        }
    }
}

#[test]
fn not_numbers() {
    let texts = [
        "",
        ".",
        "$",
        "-",
        "+.",
        "-$",
        "18 apples",
        "18%",
        "18..",
        "1.2.3",
        "1,2,3",
        "12,00",
        "1,2000",
        ",200",
        "1200,",
        "1,,200",
        "1.5,000",
        "--5",
        "+-5",
        "5-",
        "$-5",
        "$$5",
        "5$",
        "1e3",
        "0x12",
        "36/2",
        "1 200",
        "inf",
        "NaN",
        "eighteen",
        "17 18",
        "18\u{200b}",
        "\u{0661}\u{0668}",
    ];
    for text in texts {
        for truth in ["18", "-5", "0", "1200", text] {
            assert!(!equal(text, truth), "answer {text:?}, truth {truth:?}");
        }
        assert!(!equal("18", text), "truth {text:?}");
    }
}

proptest! {
    #[test]
    fn integers_equal_themselves_only(a in any::<i64>(), b in any::<i64>()) {
        prop_assert!(equal(&a.to_string(), &a.to_string()));
        prop_assert_eq!(equal(&a.to_string(), &b.to_string()), a == b);
    }

    #[test]
    fn zeros_at_the_ends_change_nothing(n in any::<u32>(), decimals in 0_usize..4, zeros in 0_usize..4) {
        let number = format!("{n}.{:0decimals$}", n % 7);
        let padded = format!("{}{number}{}", "0".repeat(zeros), "0".repeat(zeros));
        prop_assert!(equal(&number, &padded));
    }

    #[test]
    fn any_text_has_a_score(answer in any::<String>(), truth in any::<String>()) {
        equal(&answer, &truth);
    }
}
