//! The format rewards, case by case.

use grpo_reward::{SoftFormat, StrictFormat, TagCount};

use crate::score;

const STRICT: &str = "<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n";

#[test]
fn strict() {
    let cases = [
        (STRICT, true),
        // Python's `$` stands in front of a final line break too, but of one only.
        ("<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n\n", true),
        ("<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n\n\n", false),
        ("<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>", false),
        ("<reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n.", false),
        (" <reasoning>\nHalf.\n</reasoning>\n<answer>\n18\n</answer>\n", false),
        ("<reasoning>Half.</reasoning>\n<answer>\n18\n</answer>\n", false),
        ("<reasoning>\nHalf.\n</reasoning><answer>\n18\n</answer>\n", false),
        ("<reasoning>\nHalf.\n</reasoning>\n\n<answer>\n18\n</answer>\n", false),
        // The dot takes line breaks, and whatever is between the tags.
        ("<reasoning>\n36 / 2\n\n= 18\n</reasoning>\n<answer>\n18\n</answer>\n", true),
        ("<reasoning>\n\n</reasoning>\n<answer>\n\n</answer>\n", true),
        ("<reasoning>\n</reasoning>\n<answer>\n</answer>\n", false),
        ("<reasoning>\na\n</reasoning>\n<answer>\nb\n</answer>\nc\n</answer>\n", true),
        ("<answer>\n18\n</answer>\n<reasoning>\nHalf.\n</reasoning>\n", false),
        ("<reasoning>\r\nHalf.\r\n</reasoning>\r\n<answer>\r\n18\r\n</answer>\r\n", false),
        ("18", false),
        ("", false),
    ];
    check(&StrictFormat::default(), 0.5, &cases);
}

#[test]
fn soft() {
    let cases = [
        (STRICT, true),
        ("<reasoning>Half.</reasoning><answer>18</answer>", true),
        ("<reasoning>Half.</reasoning> \n\t <answer>18</answer>", true),
        ("<reasoning>Half.</reasoning>\u{a0}\x1c<answer>18</answer>", true),
        ("<reasoning></reasoning><answer></answer>", true),
        ("<reasoning>\n1\n2\n</reasoning><answer>18</answer> and more", true),
        ("Well. <reasoning>Half.</reasoning><answer>18</answer>", false),
        ("\n<reasoning>Half.</reasoning><answer>18</answer>", false),
        ("<reasoning>Half.</reasoning> so <answer>18</answer>", false),
        // The lazy dot goes on to a later pair of tags.
        ("<reasoning>a</reasoning> so <answer>b</answer></reasoning><answer>c</answer>", true),
        ("<reasoning>Half.</reasoning><answer>18", false),
        ("<answer>18</answer><reasoning>Half.</reasoning>", false),
        ("", false),
    ];
    check(&SoftFormat::default(), 0.5, &cases);
}

#[test]
fn tag_count() {
    let cases = [
        (STRICT, 0.5),
        ("</answer><answer></reasoning><reasoning>", 0.5),
        ("<reasoning>Half.</reasoning><answer>18", 0.375),
        ("<answer>18</answer>", 0.25),
        ("<reasoning>", 0.125),
        ("<reasoning><reasoning></reasoning><answer>18</answer>", 0.375),
        ("<answer><answer></answer></answer>", 0.0),
        ("<Answer> < answer >", 0.0),
        ("", 0.0),
    ];
    for (text, expected) in cases {
        assert_eq!(score(&TagCount::default(), "18", text), expected, "{text:?}");
    }
}

fn check(reward: &impl grpo_core::Reward<str>, paid: f32, cases: &[(&str, bool)]) {
    for (text, right) in cases {
        assert_eq!(score(reward, "18", text), if *right { paid } else { 0.0 }, "{text:?}");
    }
}
