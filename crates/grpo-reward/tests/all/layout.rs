//! Reasoning and answer between tags of any name.

use grpo_reward::{Layout, LayoutFormat, SettingError};
use proptest::prelude::*;

use crate::score;

#[test]
fn think_and_answer() {
    let cases = [
        ("<think>Half.</think><answer>18</answer>", true),
        ("\n<think>\nHalf.\n</think>\n\n<answer>\n18\n</answer>\n", true),
        ("<think>a < b</think> <answer><b>18</b></answer>", true),
        ("<think></think><answer>18</answer>", false),
        ("<think>Half.</think><answer> \n </answer>", false),
        ("So: <think>Half.</think><answer>18</answer>", false),
        ("<think>Half.</think> so <answer>18</answer>", false),
        ("<think>Half.</think><answer>18</answer> apples", false),
        ("<think>Half.</think><answer>18", false),
        ("Half.</think><answer>18</answer>", false),
        ("<answer>18</answer><think>Half.</think>", false),
        ("<think>Half.</think><answer>17</answer><answer>18</answer>", false),
        ("<think><answer>17</answer></think><answer>18</answer>", false),
        ("<think>a</think></think><answer>18</answer>", false),
        ("<think><think>a</think><answer>18</answer>", false),
        ("<reasoning>Half.</reasoning><answer>18</answer>", false),
        ("<think>", false),
        ("", false),
    ];
    for (text, right) in cases {
        assert_eq!(score(&LayoutFormat::default(), "18", text), if right { 0.5 } else { 0.0 }, "{text:?}");
    }
}

#[test]
fn tags_of_other_names() {
    let layout = Layout::new("plan", "final-code").unwrap();
    assert_eq!(layout.split("<plan> a </plan><final-code>b</final-code>"), Some(("a", "b")));
    let format = LayoutFormat { layout, reward: 1.0 };
    assert_eq!(score(&format, "", "<plan>a</plan><final-code>b</final-code>"), 1.0);
    assert_eq!(score(&format, "", "<think>a</think><answer>b</answer>"), 0.0);
    for (reasoning, answer) in [("a", "a"), ("", "a"), ("a", "<b>"), ("a", "b c"), ("ä", "b")] {
        let error = Layout::new(reasoning, answer).unwrap_err();
        assert!(matches!(error, SettingError::TagNames { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn what_is_put_in_comes_out(reasoning in "[^<]*", answer in "[^<]*") {
        let text = format!("<think>\u{1c}{reasoning}</think>\n<answer>{answer}\n</answer>");
        let is_space = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
        let (reasoning, answer) = (reasoning.trim_matches(is_space), answer.trim_matches(is_space));
        prop_assert_eq!(Layout::THINK.split(&text), Some((reasoning, answer)));
    }
}
