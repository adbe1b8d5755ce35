//! `extract_answer`, case by case and against Python's rules spelled out.

use grpo_core::Reward;
use grpo_reward::{Correctness, extract_answer};
use proptest::prelude::*;

use crate::{completion, score};

#[test]
fn cases() {
    let cases = [
        ("no tags", "  18\n", "18"),
        ("tags", "<answer>18</answer>", "18"),
        ("reasoning before", "<reasoning>\nHalf: 18.\n</reasoning>\n<answer>\n18\n</answer>\n", "18"),
        (
            "answer within the reasoning",
            "<reasoning><answer>17</answer></reasoning><answer>18</answer>",
            "18",
        ),
        ("two answers", "<answer>17</answer><answer>18</answer>", "18"),
        ("unclosed", "Half. <answer> 18", "18"),
        ("unopened", "18</answer> apples", "18"),
        ("reversed", "a</answer>b<answer>c", "c"),
        ("nested", "<answer>a<answer>b</answer>c</answer>", "b"),
        ("closed twice", "<answer>a</answer>b</answer>", "a"),
        ("empty answer", "<answer></answer>", ""),
        ("empty last answer", "<answer>18</answer><answer>", ""),
        ("empty text", "", ""),
        ("white space only", "<answer> \t\r\n </answer>", ""),
        ("white space inside stays", "<answer>\n1 8\n</answer>", "1 8"),
        ("Unicode's white space", "<answer>\u{a0}\u{2003}18\u{3000}\u{85}</answer>", "18"),
        ("ASCII separators, white space to Python", "<answer>\x1c\x1d18\x1e\x1f</answer>", "18"),
        ("zero-width space, none to Python", "<answer>\u{200b}18</answer>", "\u{200b}18"),
        ("other cases are other tags", "<Answer>18</Answer>", "<Answer>18</Answer>"),
        ("broken tag", "<answer 18</answer>", "<answer 18"),
    ];
    for (name, text, expected) in cases {
        assert_eq!(extract_answer(text), expected, "{name}: {text:?}");
    }
}

#[test]
fn correctness() {
    let reward = Correctness::default();
    assert_eq!(score(&reward, "18", "<answer>\n18\n</answer>"), 2.0);
    assert_eq!(score(&reward, "18", "18"), 2.0);
    assert_eq!(score(&reward, "18", "<answer>18 apples</answer>"), 0.0);
    assert_eq!(score(&reward, "18", ""), 0.0);
    // The truth is taken as it is.
    assert_eq!(score(&reward, " 18", "<answer> 18</answer>"), 0.0);
    assert_eq!(score(&Correctness { reward: 1.0 }, "18", "18"), 1.0);
    // Any text is a truth.
    assert_eq!(reward.score(&"18".to_owned(), &completion("18")), 2.0);
}

/// What `str.isspace` is true of, in Python 3.
const PYTHON_SPACE: [char; 29] = [
    '\t', '\n', '\x0b', '\x0c', '\r', '\x1c', '\x1d', '\x1e', '\x1f', ' ', '\u{85}', '\u{a0}', '\u{1680}',
    '\u{2000}', '\u{2001}', '\u{2002}', '\u{2003}', '\u{2004}', '\u{2005}', '\u{2006}', '\u{2007}',
    '\u{2008}', '\u{2009}', '\u{200a}', '\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{3000}',
];

fn python(text: &str) -> &str {
    let last = text.split("<answer>").last().unwrap();
    let first = last.split("</answer>").next().unwrap();
    first.trim_matches(PYTHON_SPACE)
}

fn tag_soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<answer>".to_owned()),
        Just("</answer>".to_owned()),
        Just("<reasoning>".to_owned()),
        Just("</reasoning>".to_owned()),
        Just("<ans".to_owned()),
        Just("wer>".to_owned()),
        prop::sample::select(&PYTHON_SPACE[..]).prop_map(String::from),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn is_pythons(text in tag_soup()) {
        prop_assert_eq!(extract_answer(&text), python(&text));
    }
}
