//! Mathematical equality on texts that are meant to be paid for, to take long, or to break something.

use std::time::{Duration, Instant};

use grpo_reward::audit::{Audit, Case, Severity};
use grpo_reward::{MathEquality, Rubric};
use proptest::prelude::*;

use crate::score;

/// The known tricks are not paid.
#[test]
fn an_audit_finds_nothing() {
    let gold = "<reasoning>\nHalf of 36.\n</reasoning>\n<answer>\n18\n</answer>\n";
    let cases = [Case { truth: "18", prompt: "What is half of 36?", gold, marks: 2.0 }];
    let rubric = Rubric::new().with("math", 1.0, MathEquality::default());
    let report = Audit { right: Some("math".to_owned()), ..Audit::default() }.run(&rubric, &cases).unwrap();
    assert!(report.worst().is_none_or(|worst| worst == Severity::Warning), "{report}");
}

/// Long, deep, huge and broken answers take milliseconds, and earn nothing.
#[test]
fn hostile_texts_are_wrong() {
    let opened = [
        "(",
        "[",
        "{",
        r"\{",
        "|",
        r"\left(",
        r"\frac{",
        r"\sqrt{",
        "x^{",
        "x_{",
        r"\boxed{",
        r"\text{",
        r"\sin",
        r"\{\pm",
        "$",
        "$$",
        r"\(",
        r"\begin{pmatrix}",
        "<answer>",
        "answer is ",
        "((1)",
        "-",
        "!",
        "x!",
        "x'",
        "x^",
        "x_",
        "1/",
        "1 2/",
        ",",
        "1,",
        "±1,",
        r"\cup",
        "(1,2)\\cup",
        "=",
        "x=",
        r"\text{a}",
        "9^",
        "5000!*",
        "(x+1)^{99}",
        r"\binom{5000}{2500}+",
        "∫",
        "5%",
        "%",
        "5 apples x",
        "\0",
        "\u{202e}",
    ];
    for part in opened {
        for count in [1, 30, 300, 20_000] {
            let text = part.repeat(count);
            for text in [
                &text,
                &format!("{text}7"),
                &format!("$\\boxed{{{text}}}$"),
                &format!("{text}1{}", "}".repeat(count)),
            ] {
                let start = Instant::now();
                assert_eq!(score(&MathEquality::default(), "8", text), 0.0, "{part:?} {count}");
                MathEquality::equal(text, &format!("{text} "));
                assert!(start.elapsed() < Duration::from_secs(2), "{part:?} {count}: {:?}", start.elapsed());
            }
        }
    }
}

/// The deepest trees that are read fit on the stack.
#[test]
fn deep_formulas_are_compared() {
    for (open, close) in [
        ("(", ")"),
        ("1+2(-", ")!^2"),
        (r"\frac{1}{", "}"),
        (r"\sqrt{2+", "}"),
        (r"\sin(3-", ")"),
        ("2^{", "}"),
        ("(1,", ")"),
        (r"\{1\}∪\{2,x=", r"\}∩\{3\}"),
        ("{x,", ";y}"),
        ("|1-", "|"),
    ] {
        for depth in [5, 18, 36, 45] {
            let nested = |inner: &str| open.repeat(depth) + inner + &close.repeat(depth);
            MathEquality::equal(&nested("5"), &nested("6"));
            assert!(MathEquality::equal(&nested("5"), &nested("5")), "{open:?}");
        }
    }
    assert!(MathEquality::equal(&format!("{}5{}", "(2-".repeat(30), ")".repeat(30)), "5"));
}

/// Lists are compared item by item, so their length counts twice.
#[test]
fn long_lists_take_bounded_work() {
    for item in ["2006!", r"\binom{999}{99}", "x^{99}", r"\sin x", "f(f(x))", "(1,2)", "9^{9^9}"] {
        let list =
            |from: usize| (from..from + 90).map(|n| format!("{item}+{n}")).collect::<Vec<_>>().join(",");
        let start = Instant::now();
        MathEquality::equal(&list(0), &list(1));
        assert!(start.elapsed() < Duration::from_secs(2), "{item}: {:?}", start.elapsed());
    }
}

proptest! {
    #[test]
    fn any_texts_are_compared(truth in any::<String>(), answer in r"[0-9x+\-*/^_(){}\[\]|,;=<>!%$\\ a-z]{0,60}") {
        score(&MathEquality::default(), &truth, &answer);
        MathEquality::equal(&answer, &truth);
    }
}
