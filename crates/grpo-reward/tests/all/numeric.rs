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

/// How Markdown, LaTeX and typography write a number.
const DRESSED: [(&str, &[&str]); 4] = [
    (
        "73",
        &[
            "**73**",
            "*73*",
            "***73***",
            "__73__",
            "_73_",
            "`73`",
            "```\n73\n```",
            "**73.**",
            "**73**.",
            "** 73 **",
            "**`73`**",
            "$73$",
            "$$73$$",
            "$$\n73\n$$",
            r"\(73\)",
            r"\[73\]",
            r"\text{73}",
            r"$\text{73}$",
            r"\mathrm{73}",
            r"\mathbf{73}",
            r"\textbf{73}",
            r"\textit{73}",
            r"\underline{73}",
            r"\emph {73}",
            r"73\text{.}",
            r"\boxed{73}",
            r"$\boxed{\text{73}}$",
            r"\$73",
            r"$\$73$",
            r"73\,",
            "７３",
            "＋７３．０",
            "＄７３",
            "73。",
            "７３。",
        ],
    ),
    (
        "-5",
        &[
            "–5",
            "‐5",
            "\u{2011}5",
            "‒5",
            "—5",
            "―5",
            "−5",
            "﹘5",
            "﹣5",
            "－5",
            "－５",
            "**–5**",
            "$-5$",
            r"\(−5\)",
            "–$5",
            r"-\$5",
            r"-\text{5}",
        ],
    ),
    (
        "9500",
        &[
            "$9{,}500",
            "9{,}500",
            "$9{,}500$",
            r"\$9{,}500.00",
            r"9\,500",
            r"9,\!500",
            "9\u{202f}500",
            "9'500",
            "9’500",
            "9\u{2009}500",
            "9\u{a0}500",
            "９，５００",
            "**9,500**",
        ],
    ),
    (
        "1234567.5",
        &[
            "1{,}234{,}567.5",
            "1'234'567.5.",
            "**1,234,567.5**.",
            "$1,234,567.5.$",
            r"1\,234\,567.50",
            "1\u{202f}234\u{202f}567.5",
        ],
    ),
];

#[test]
fn numbers_in_dress() {
    for (truth, answers) in DRESSED {
        for answer in answers {
            assert!(equal(answer, truth), "answer {answer:?}, truth {truth:?}");
            assert!(equal(truth, answer), "answer {truth:?}, truth {answer:?}");
            assert!(!equal(answer, "7"), "answer {answer:?}");
        }
    }
}

/// More or other than one number, whatever the dress.
const OTHERS: [&str; 53] = [
    "5-7",
    "10–20",
    "10—20",
    "7–",
    "–",
    "– 7",
    "3,5",
    "3{,}5",
    "1{,}2{,}3",
    r"1\,2\,3",
    "9,500{,}1",
    "1{,}200\u{202f}300",
    "1'2'3",
    "1_200",
    "7.0..",
    "{-}5",
    "17\u{a0}18",
    "*5* *7*",
    "**5** or **7**",
    "$5$ $7$",
    "`5` `7`",
    "**7",
    "7**",
    "*7_",
    "$7`",
    r"\(7",
    r"\(7\]",
    r"\text{7",
    r"\text{5}\text{ or 7}",
    "~~7~~",
    "7²",
    "7^2",
    "7_2",
    "7{}",
    "{7}",
    "½",
    r"\frac{14}{2}",
    r"7\%",
    r"7\text{ apples}",
    "①",
    "七",
    "7、",
    "7，",
    "。7",
    "7。0",
    "**",
    "****",
    "$$",
    "``",
    r"\boxed{}",
    r"\text{}",
    "_",
    "$.$",
];

#[test]
fn dressed_texts_that_are_not_numbers() {
    for text in OTHERS {
        for truth in ["7", "5", "-7", "20", "-20", "35", "3.5", "123", "1200300", "14", "0", text] {
            assert!(!equal(text, truth), "answer {text:?}, truth {truth:?}");
        }
    }
    for long in ["*", "_", "`", "$", "$*", r"\text{", "**7"] {
        assert!(!equal(&long.repeat(300_000), "7"));
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
