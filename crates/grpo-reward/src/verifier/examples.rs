//! A completion that earns each verifier's reward, and one that does not.

use grpo_core::{Completion, Finish};
use serde_json::json;

use super::Verifier;
use crate::{Row, Rubric, SettingError};

/// A verifier, and what it makes of two completions.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifierExample {
    /// The verifier, with its defaults where it has them.
    pub verifier: Verifier,
    /// What it pays for, in a phrase.
    pub pays_for: &'static str,
    /// The truth that completions are compared with, and other columns.
    pub row: Row,
    /// A completion that earns the reward.
    pub right: Completion,
    /// One that does not.
    pub wrong: Completion,
}

const FORMATTED: &str = "<reasoning>\nHalf of 36.\n</reasoning>\n<answer>\n18\n</answer>\n";

impl VerifierExample {
    /// One of every verifier, in the order of [`Verifier::KINDS`].
    pub fn all() -> Vec<Self> {
        Verifier::KINDS.iter().map(|kind| Self::of(kind)).collect()
    }

    fn of(kind: &str) -> Self {
        let short = |pays_for, truth, right: &'static str, wrong: &'static str| {
            (pays_for, json!({}), truth, (right, 9), (wrong, 9))
        };
        let (pays_for, settings, truth, right, wrong) = match kind {
            "correctness" => short(
                "the text between the answer tags is the truth, character by character",
                "18",
                "<answer>18</answer>",
                "<answer>18.0</answer>",
            ),
            "numeric" => short(
                "that text is the same number as the truth",
                "18",
                "<answer>$18.00</answer>",
                "<answer>18 or 19</answer>",
            ),
            "quantity" => (
                "it is a number near the truth's, with the same unit",
                json!({ "relative": 0.01 }),
                "12.5 km",
                ("<answer>12.6 km</answer>", 9),
                ("<answer>12.5 m</answer>", 9),
            ),
            "choice" => short(
                "it is the letter of the right option",
                "B",
                "<answer>(b)</answer>",
                "<answer>A or B</answer>",
            ),
            "math_equality" => short(
                r"the answer, in \boxed{…} or in tags, is mathematically equal to the truth",
                r"\frac{1}{2}",
                r"so $\boxed{0.5}$",
                r"so $\boxed{0.4}$",
            ),
            "last_number" => {
                short("the last number of the text is the truth", "18", "That makes 18.", "18 - 1 = 17")
            }
            "countdown" => (
                "it is an expression over the numbers in a column that equals the truth",
                json!({ "numbers": "nums" }),
                "56",
                ("<answer>(3 + 5) * 7</answer>", 9),
                ("<answer>56</answer>", 9),
            ),
            "instructions" => (
                "it follows the instructions in a column, each for its share",
                json!({ "column": "instructions" }),
                "",
                ("<answer>half of 36</answer>", 9),
                ("<answer>half, of 36</answer>", 9),
            ),
            "json" => short(
                "the answer is a JSON object or array",
                "",
                r#"<answer>{"a": 1}</answer>"#,
                "<answer>a: 1</answer>",
            ),
            "json_schema" => (
                "the answer is JSON that a schema accepts",
                json!({ "schema": r#"{"required": ["a"]}"# }),
                "",
                (r#"<answer>{"a": 1}</answer>"#, 9),
                (r#"<answer>{"b": 1}</answer>"#, 9),
            ),
            "strict_format" => short(
                "exactly the prescribed layout, line by line",
                "",
                FORMATTED,
                "<reasoning>Half of 36.</reasoning><answer>18</answer>",
            ),
            "soft_format" => short(
                "the tags in order, regardless of line breaks",
                "",
                "<reasoning>Half of 36.</reasoning> <answer>18</answer>",
                "<answer>18</answer>",
            ),
            "tag_count" => {
                short("each tag that appears exactly once, a quarter of the reward", "", FORMATTED, "18")
            }
            "layout_format" => (
                "reasoning and answer, both non-empty, in tags of these names",
                json!({ "reasoning": "think", "answer": "answer" }),
                "",
                ("<think>Half of 36.</think><answer>18</answer>", 9),
                ("<think></think><answer>18</answer>", 9),
            ),
            "must_match" => (
                "a regular expression matches",
                json!({ "pattern": r"^\d+$" }),
                "",
                ("18", 9),
                ("18 apples", 9),
            ),
            "must_not_match" => (
                "a regular expression does not match",
                json!({ "pattern": "(?i)as an ai" }),
                "",
                ("18", 9),
                ("As an AI, 18", 9),
            ),
            "soft_overlong" => (
                "staying below a number of tokens: 0 down to -1",
                json!({ "max_tokens": 256, "cache": 64 }),
                "",
                ("192 tokens", 192),
                ("224 tokens", 224),
            ),
            "repetition" => (
                "not repeating runs of words: 0 down to a penalty",
                json!({ "ngram_size": 2, "max_penalty": -1.0 }),
                "",
                ("one two three", 9),
                ("one two one two one two", 9),
            ),
            kind => unreachable!("{kind} has no example"),
        };
        let columns = match kind {
            "countdown" => json!({ "nums": [3, 5, 7] }),
            "instructions" => json!({ "instructions": ["lowercase", "no_commas"] }),
            _ => json!({}),
        };
        let columns = columns.as_object().cloned().unwrap_or_default();
        let mut verifier = settings;
        verifier["kind"] = json!(kind);
        let completion = |(text, n_tokens): (&'static str, usize)| Completion {
            text: text.to_owned(),
            n_tokens,
            finish: Finish::Stop,
        };
        Self {
            pays_for,
            verifier: serde_json::from_value(verifier).expect("every example has valid settings"),
            row: Row { truth: truth.to_owned(), columns },
            right: completion(right),
            wrong: completion(wrong),
        }
    }

    /// What the two completions earn, the right one first.
    ///
    /// # Errors
    ///
    /// If a setting is out of range, as only in an example of one's own.
    pub fn earned(&self) -> Result<[f32; 2], SettingError> {
        let rubric = self.verifier.add_to(Rubric::new(), "example", 1.0)?;
        let earned = |completion| rubric.score(&self.row, completion).map_or(f32::NAN, |scores| scores.total);
        Ok([earned(&self.right), earned(&self.wrong)])
    }
}
