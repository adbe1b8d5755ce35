//! Verifiers by name, as a configuration file has them.

mod examples;
mod of_columns;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Choice, Correctness, Countdown, Instructions, Json, LastNumber, Layout, LayoutFormat, MathEquality,
    Numeric, Pattern, Quantity, Repetition, Row, Rubric, SettingError, SoftFormat, SoftOverlong,
    StrictFormat, TagCount, Usage,
};
use of_columns::OfRow;

pub use examples::VerifierExample;

/// A verifier for rows of a dataset, with its settings: `{ kind = "numeric", reward = 2.0 }` in a configuration. Settings that are
/// left out are the verifier's defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Verifier {
    /// [`Correctness`]
    Correctness(Correctness),
    /// [`Numeric`]
    Numeric(Numeric),
    /// [`Quantity`]
    Quantity {
        /// What a right answer earns.
        #[serde(default = "two")]
        reward: f32,
        /// How far an answer may be from the truth.
        #[serde(default)]
        absolute: f64,
        /// The same, as a share of the truth.
        #[serde(default)]
        relative: f64,
        /// Other names of units.
        #[serde(default)]
        synonyms: BTreeMap<String, String>,
    },
    /// [`Choice`]
    Choice(Choice),
    /// [`MathEquality`]
    MathEquality(MathEquality),
    /// [`LastNumber`]
    LastNumber(LastNumber),
    /// [`Countdown`](crate::Countdown) to the truth
    Countdown {
        /// What a right expression earns.
        #[serde(default = "two")]
        reward: f32,
        /// The column of the numbers.
        numbers: String,
        /// How often each number must or may be used.
        #[serde(default)]
        usage: Usage,
    },
    /// [`Instructions`](crate::Instructions)
    Instructions {
        /// What following all of them earns.
        #[serde(default = "two")]
        reward: f32,
        /// The column of the instructions, such as `["no_commas", { "words": { "at_most": 20 } }]`.
        column: String,
        /// Whether all instructions must be followed to earn anything.
        #[serde(default)]
        strict: bool,
    },
    /// [`Json`]
    Json(Json),
    /// [`JsonSchema`](crate::JsonSchema)
    #[cfg(feature = "json-schema")]
    JsonSchema {
        /// What accepted JSON earns.
        #[serde(default = "one")]
        reward: f32,
        /// The schema, as JSON.
        schema: String,
    },
    /// [`StrictFormat`]
    StrictFormat(StrictFormat),
    /// [`SoftFormat`]
    SoftFormat(SoftFormat),
    /// [`TagCount`]
    TagCount(TagCount),
    /// [`LayoutFormat`]
    LayoutFormat {
        /// What the layout earns.
        #[serde(default = "half")]
        reward: f32,
        /// The name of the tags around the reasoning.
        reasoning: String,
        /// The name of the tags around the answer.
        answer: String,
    },
    /// [`Pattern::must_match`]
    MustMatch {
        /// What a match earns.
        #[serde(default = "half")]
        reward: f32,
        /// A regular expression of the crate `regex`.
        pattern: String,
    },
    /// [`Pattern::must_not_match`]
    MustNotMatch {
        /// What a text without a match earns.
        #[serde(default = "half")]
        reward: f32,
        /// A regular expression of the crate `regex`.
        pattern: String,
    },
    /// [`SoftOverlong`]
    SoftOverlong {
        /// The length at which the penalty is full.
        max_tokens: usize,
        /// How many tokens before that it begins.
        cache: usize,
    },
    /// [`Repetition`]
    Repetition {
        /// Words per run.
        ngram_size: usize,
        /// What a text earns that repeats nothing but itself.
        max_penalty: f32,
    },
}

fn two() -> f32 {
    2.0
}

#[cfg(feature = "json-schema")]
fn one() -> f32 {
    1.0
}

fn half() -> f32 {
    0.5
}

impl Verifier {
    /// The names of all verifiers, as `kind` has them.
    pub const KINDS: &'static [&'static str] = &[
        "correctness",
        "numeric",
        "quantity",
        "choice",
        "math_equality",
        "last_number",
        "countdown",
        "instructions",
        "json",
        #[cfg(feature = "json-schema")]
        "json_schema",
        "strict_format",
        "soft_format",
        "tag_count",
        "layout_format",
        "must_match",
        "must_not_match",
        "soft_overlong",
        "repetition",
    ];

    /// Whether the truth of a row is a right answer.
    pub fn answer_is_truth(&self) -> bool {
        !matches!(self, Self::Countdown { .. } | Self::Instructions { .. })
    }

    /// Adds the verifier to a rubric.
    ///
    /// # Errors
    ///
    /// If a setting is out of range.
    pub fn add_to(&self, rubric: Rubric<Row>, name: &str, weight: f32) -> Result<Rubric<Row>, SettingError> {
        Ok(match self {
            Self::Correctness(verifier) => rubric.with(name, weight, *verifier),
            Self::Numeric(verifier) => rubric.with(name, weight, *verifier),
            Self::Quantity { reward, absolute, relative, synonyms } => {
                let mut quantity = Quantity::new(*absolute, *relative)?;
                quantity.reward = *reward;
                let with =
                    |quantity: Quantity, (name, unit): (&String, &String)| quantity.synonym(name, unit);
                rubric.with(name, weight, synonyms.iter().fold(quantity, with))
            }
            Self::Choice(verifier) => rubric.with(name, weight, *verifier),
            Self::MathEquality(verifier) => rubric.with(name, weight, *verifier),
            Self::LastNumber(verifier) => rubric.with(name, weight, *verifier),
            Self::Countdown { reward, numbers, usage } => {
                let verifier = Countdown { usage: *usage, reward: *reward };
                rubric.with_group(name, weight, OfRow { verifier, column: numbers.clone() })
            }
            Self::Instructions { reward, column, strict } => {
                let verifier = Instructions { strict: *strict, reward: *reward };
                rubric.with_group(name, weight, OfRow { verifier, column: column.clone() })
            }
            Self::Json(verifier) => rubric.with(name, weight, *verifier),
            #[cfg(feature = "json-schema")]
            Self::JsonSchema { reward, schema } => {
                let mut verifier = crate::JsonSchema::new(schema)?;
                verifier.reward = *reward;
                rubric.with(name, weight, verifier)
            }
            Self::StrictFormat(verifier) => rubric.with(name, weight, *verifier),
            Self::SoftFormat(verifier) => rubric.with(name, weight, *verifier),
            Self::TagCount(verifier) => rubric.with(name, weight, *verifier),
            Self::LayoutFormat { reward, reasoning, answer } => {
                let layout = Layout::new(reasoning.clone(), answer.clone())?;
                rubric.with(name, weight, LayoutFormat { layout, reward: *reward })
            }
            Self::MustMatch { reward, pattern } => {
                let mut verifier = Pattern::must_match(pattern)?;
                verifier.reward = *reward;
                rubric.with(name, weight, verifier)
            }
            Self::MustNotMatch { reward, pattern } => {
                let mut verifier = Pattern::must_not_match(pattern)?;
                verifier.reward = *reward;
                rubric.with(name, weight, verifier)
            }
            Self::SoftOverlong { max_tokens, cache } => {
                rubric.with(name, weight, SoftOverlong::new(*max_tokens, *cache)?)
            }
            Self::Repetition { ngram_size, max_penalty } => {
                rubric.with(name, weight, Repetition::new(*ngram_size, *max_penalty)?)
            }
        })
    }
}
