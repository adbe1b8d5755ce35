//! A completion that earns each verifier's reward, and one that does not.

use grpo_core::{Completion, Finish};
use serde_json::json;

use super::Verifier;
use crate::{Rubric, SettingError};

/// A verifier, and what it makes of two completions.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifierExample {
    /// The verifier, with its defaults where it has them.
    pub verifier: Verifier,
    /// What it pays for, in a phrase.
    pub pays_for: &'static str,
    /// The truth that completions are compared with.
    pub truth: &'static str,
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
        let short =
            |truth, right: &'static str, wrong: &'static str| (json!({}), truth, (right, 9), (wrong, 9));
        let (settings, truth, right, wrong) = match kind {
            "correctness" => short("18", "<answer>18</answer>", "<answer>18.0</answer>"),
            "numeric" => short("18", "<answer>$18.00</answer>", "<answer>18 or 19</answer>"),
            "quantity" => (
                json!({ "relative": 0.01 }),
                "12.5 km",
                ("<answer>12.6 km</answer>", 9),
                ("<answer>12.5 m</answer>", 9),
            ),
            "choice" => short("B", "<answer>(b)</answer>", "<answer>A or B</answer>"),
            "math_equality" => short(r"\frac{1}{2}", r"so $\boxed{0.5}$", r"so $\boxed{0.4}$"),
            "last_number" => short("18", "That makes 18.", "18 - 1 = 17"),
            "json" => short("", r#"<answer>{"a": 1}</answer>"#, "<answer>a: 1</answer>"),
            "json_schema" => (
                json!({ "schema": r#"{"required": ["a"]}"# }),
                "",
                (r#"<answer>{"a": 1}</answer>"#, 9),
                (r#"<answer>{"b": 1}</answer>"#, 9),
            ),
            "strict_format" => short("", FORMATTED, "<reasoning>Half of 36.</reasoning><answer>18</answer>"),
            "soft_format" => {
                short("", "<reasoning>Half of 36.</reasoning> <answer>18</answer>", "<answer>18</answer>")
            }
            "tag_count" => short("", FORMATTED, "18"),
            "layout_format" => (
                json!({ "reasoning": "think", "answer": "answer" }),
                "",
                ("<think>Half of 36.</think><answer>18</answer>", 9),
                ("<think></think><answer>18</answer>", 9),
            ),
            "must_match" => (json!({ "pattern": r"^\d+$" }), "", ("18", 9), ("18 apples", 9)),
            "must_not_match" => (json!({ "pattern": "(?i)as an ai" }), "", ("18", 9), ("As an AI, 18", 9)),
            "soft_overlong" => {
                (json!({ "max_tokens": 256, "cache": 64 }), "", ("192 tokens", 192), ("224 tokens", 224))
            }
            "repetition" => {
                let numbers = json!({ "ngram_size": 2, "max_penalty": -1.0 });
                (numbers, "", ("one two three", 9), ("one two one two one two", 9))
            }
            kind => unreachable!("{kind} has no example"),
        };
        let mut verifier = settings;
        verifier["kind"] = json!(kind);
        let completion = |(text, n_tokens): (&'static str, usize)| Completion {
            text: text.to_owned(),
            n_tokens,
            finish: Finish::Stop,
        };
        Self {
            pays_for: pays_for(kind),
            verifier: serde_json::from_value(verifier).expect("every example has valid settings"),
            truth,
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
        let rubric: Rubric<str> = self.verifier.add_to(Rubric::new(), "example", 1.0)?;
        let earned =
            |completion| rubric.score(self.truth, completion).map_or(f32::NAN, |scores| scores.total);
        Ok([earned(&self.right), earned(&self.wrong)])
    }
}

fn pays_for(kind: &str) -> &'static str {
    match kind {
        "correctness" => "the text between the answer tags is the truth, character by character",
        "numeric" => "that text is the same number as the truth",
        "quantity" => "it is a number near the truth's, with the same unit",
        "choice" => "it is the letter of the right option",
        "math_equality" => "the answer, in \\boxed{…} or in tags, is mathematically equal to the truth",
        "last_number" => "the last number of the text is the truth",
        "json" => "the answer is a JSON object or array",
        "json_schema" => "the answer is JSON that a schema accepts",
        "strict_format" => "exactly the prescribed layout, line by line",
        "soft_format" => "the tags in order, regardless of line breaks",
        "tag_count" => "each tag that appears exactly once, a quarter of the reward",
        "layout_format" => "reasoning and answer, both non-empty, in tags of these names",
        "must_match" => "a regular expression matches",
        "must_not_match" => "a regular expression does not match",
        "soft_overlong" => "staying below a number of tokens: 0 down to -1",
        "repetition" => "not repeating runs of words: 0 down to a penalty",
        kind => unreachable!("{kind} has no description"),
    }
}
