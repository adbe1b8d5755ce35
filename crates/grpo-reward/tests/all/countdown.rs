//! Expressions that reach a number, case by case and against an evaluator of expression trees.

use std::fmt;

use grpo_core::Reward;
use grpo_reward::{Countdown, CountdownTruth, Usage};
use proptest::prelude::*;

use crate::completion;

fn reaches(numbers: &[u64], target: i64, usage: Usage, text: &str) -> bool {
    let truth = CountdownTruth { numbers: numbers.to_vec(), target };
    Countdown { usage, reward: 1.0 }.score(&truth, &completion(text)) == 1.0
}

fn all(numbers: &[u64], target: i64, text: &str) -> bool {
    reaches(numbers, target, Usage::All, text)
}

#[test]
fn expressions() {
    let cases: [(&str, &[u64], i64, bool); 30] = [
        ("(3 + 5) * 7", &[3, 5, 7], 56, true),
        ("<answer>\n(3+5)×7\n</answer>", &[3, 5, 7], 56, true),
        ("((3)+(5))*7", &[3, 5, 7], 56, true),
        ("3 + 5 * 7", &[3, 5, 7], 38, true),
        ("10 - 3 - 2", &[2, 3, 10], 5, true),
        ("10 − 3", &[10, 3], 7, true),
        ("8 ÷ 2 ÷ 2", &[8, 2, 2], 2, true),
        ("1 / 3 * 3", &[1, 3, 3], 1, true),
        ("3 - 5", &[3, 5], -2, true),
        ("3 - 5 = −2", &[3, 5], -2, true),
        ("3 + 5 = 8", &[3, 5], 8, true),
        ("8 = 3 + 5", &[3, 5], 8, false),
        ("3 + 5 = 9", &[3, 5], 8, false),
        ("3 + 5 = 8 = 8", &[3, 5], 8, false),
        ("3 + 5 =", &[3, 5], 8, false),
        ("3 + 5 == 8", &[3, 5], 8, false),
        ("7 / 2", &[7, 2], 3, false),
        ("7 // 2", &[7, 2], 3, false),
        ("2 ** 3", &[2, 3], 8, false),
        ("2 ^ 3", &[2, 3], 8, false),
        ("-3 + 5", &[3, 5], 2, false),
        ("3 5", &[3, 5], 35, false),
        ("(3)(5)", &[3, 5], 15, false),
        ("(3 + 5", &[3, 5], 8, false),
        ("3 + 5)", &[3, 5], 8, false),
        ("3.0 + 5", &[3, 5], 8, false),
        ("1,000 + 5", &[1000, 5], 1005, false),
        ("3 + 5 apples", &[3, 5], 8, false),
        ("()", &[], 0, false),
        ("", &[], 0, false),
    ];
    for (text, numbers, target, right) in cases {
        assert_eq!(all(numbers, target, text), right, "{text:?}");
    }
}

/// How Markdown, LaTeX and typography write an expression.
#[test]
fn expressions_in_dress() {
    let cases: [(&str, &[u64], i64, bool); 23] = [
        ("**(3 + 5) * 7**", &[3, 5, 7], 56, true),
        ("`(3+5)*7 = 56`", &[3, 5, 7], 56, true),
        (r"$(3 + 5) \times 7 = 56$", &[3, 5, 7], 56, true),
        (r"\(\left(3 + 5\right) \cdot 7\)", &[3, 5, 7], 56, true),
        (r"$(3+5)\times7$ = **56**.", &[3, 5, 7], 56, true),
        ("（３＋５）×７＝５６", &[3, 5, 7], 56, true),
        ("3 + 5.", &[3, 5], 8, true),
        ("3 + 5..", &[3, 5], 8, false),
        (r"3 \ast 5 = 15.", &[3, 5], 15, true),
        ("(3 + 5)·7", &[3, 5, 7], 56, true),
        (r"8 \div 2", &[8, 2], 4, true),
        ("10 – 3", &[10, 3], 7, true),
        ("10 — 3 = 7", &[10, 3], 7, true),
        ("3 – 5 = –2", &[3, 5], -2, true),
        (r"\boxed{3 - 5 = -2.0}", &[3, 5], -2, true),
        ("1000 + 5 = 1{,}005", &[1000, 5], 1005, true),
        ("3 + 5 = 8 or 9", &[3, 5], 8, false),
        ("3 + 5 = **9**", &[3, 5], 8, false),
        ("~~3 + 5~~", &[3, 5], 8, false),
        (r"2 \times\times 3", &[2, 3], 8, false),
        ("*3 + 5* *7*", &[3, 5, 7], 56, false),
        (r"1\,000 + 5", &[1000, 5], 1005, false),
        (r"\frac{8}{2}", &[8, 2], 4, false),
    ];
    for (text, numbers, target, right) in cases {
        assert_eq!(all(numbers, target, text), right, "{text:?}");
    }
}

#[test]
fn each_number_is_used_once() {
    let numbers = [3, 5, 5];
    assert!(all(&numbers, 13, "3 + 5 + 5"));
    assert!(!all(&numbers, 8, "3 + 5"));
    assert!(!all(&numbers, 18, "3 + 5 + 5 + 5"));
    assert!(!all(&numbers, 14, "3 + 5 + 6"));
    assert!(!all(&numbers, 13, "13"));
    let some = |target, text| reaches(&numbers, target, Usage::Some, text);
    assert!(some(8, "3 + 5"));
    assert!(some(10, "5 + 5"));
    assert!(some(3, "3"));
    assert!(!some(6, "3 + 3"));
    assert!(!some(13, "13"));
}

#[test]
fn division_by_zero_is_wrong() {
    for text in ["1 / 0", "0 / 0", "1 / (3 - 3)", "0 * (1 / 0)", "1 / 0 = 0"] {
        let digits: Vec<u64> =
            text.chars().take_while(|c| *c != '=').filter_map(|c| c.to_digit(10)).map(u64::from).collect();
        assert!(!all(&digits, 0, text), "{text:?}");
    }
    assert!(all(&[0, 1], 0, "0 / 1"));
}

#[test]
fn numbers_beyond_the_machine_are_wrong() {
    let max = u64::MAX;
    assert!(all(&[max, max], 0, &format!("{max} - {max}")));
    assert!(!all(&[max; 4], 0, &format!("{max} * {max} * {max} * {max}")));
    assert!(!all(&[1], 1, "18446744073709551617"));
    assert!(!all(&[1], 1, &"9".repeat(100_000)));
}

#[test]
fn hostile_texts_are_wrong() {
    let many = 1_000_000;
    for text in [
        "(".repeat(many),
        "1+".repeat(many),
        format!("{}1{}", "(".repeat(many), ")".repeat(many)),
        "=".repeat(many),
    ] {
        assert!(!all(&[1], 1, &text));
    }
    let nested = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(all(&[1], 1, &nested(100)));
    assert!(!all(&[1], 1, &nested(101)));
    // Depth, not number.
    assert!(all(&[0; 200], 0, &vec!["(0)"; 200].join("+")));
}

/// An expression tree, and the straightforward way to compute it.
#[derive(Clone, Debug)]
enum Tree {
    Number(u64),
    Node(Box<Tree>, char, Box<Tree>),
}

impl Tree {
    fn numbers(&self) -> Vec<u64> {
        match self {
            Self::Number(number) => vec![*number],
            Self::Node(left, _, right) => [left.numbers(), right.numbers()].concat(),
        }
    }

    /// Numerator and denominator, not reduced.
    fn value(&self) -> Option<(i128, i128)> {
        let (left, operator, right) = match self {
            Self::Number(number) => return Some((i128::from(*number), 1)),
            Self::Node(left, operator, right) => (left, operator, right),
        };
        let ((a, b), (c, d)) = (left.value()?, right.value()?);
        match operator {
            '+' => Some((a * d + c * b, b * d)),
            '-' => Some((a * d - c * b, b * d)),
            '*' => Some((a * c, b * d)),
            '/' => (c != 0).then_some((a * d, b * c)),
            _ => unreachable!(),
        }
    }

    fn binds(&self) -> u8 {
        match self {
            Self::Number(_) => 2,
            Self::Node(_, operator, _) => u8::from(matches!(operator, '*' | '/')),
        }
    }
}

/// With no more parentheses than needed.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, operator, right) = match self {
            Self::Number(number) => return write!(f, "{number}"),
            Self::Node(left, operator, right) => (left, operator, right),
        };
        if left.binds() < self.binds() {
            write!(f, "({left})")?
        } else {
            write!(f, "{left}")?
        }
        write!(f, " {operator} ")?;
        if right.binds() <= self.binds() { write!(f, "({right})") } else { write!(f, "{right}") }
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    (0_u64..10).prop_map(Tree::Number).prop_recursive(4, 12, 2, |tree| {
        (tree.clone(), prop::sample::select(&['+', '-', '*', '/'][..]), tree)
            .prop_map(|(left, operator, right)| Tree::Node(Box::new(left), operator, Box::new(right)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn agrees_with_a_tree(tree in trees()) {
        let (text, numbers) = (tree.to_string(), tree.numbers());
        let whole = tree.value().filter(|(a, b)| a % b == 0).map(|(a, b)| i64::try_from(a / b).unwrap());
        for target in [whole, whole.map(|n| n + 1), Some(0)].into_iter().flatten() {
            prop_assert_eq!(all(&numbers, target, &text), whole == Some(target), "{} = {}", &text, target);
        }
    }

    #[test]
    fn any_text_has_a_score(
        text in "[0-9+*/()=× −÷-]{0,40}",
        numbers in prop::collection::vec(0_u64..10, 0..5),
    ) {
        all(&numbers, 8, &text);
    }
}
