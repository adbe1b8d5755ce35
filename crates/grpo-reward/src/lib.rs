/*!
Verifiable rewards: checks that a program can run on the text of a completion.

Each reward is one small type that implements [`Reward`](grpo_core::Reward), and each is documented with a
completion that earns it and one that does not. A [`Rubric`] is a named, weighted sum of rewards, in which one
may be the gate of another. A [`Verifier`] is one of them by name, for configuration files. An [`audit`]
shows what a rubric pays for before a run does.

| reward | pays for | default |
|---|---|---|
| [`Correctness`] | the text between the answer tags equals the truth | 2.0 |
| [`Numeric`] | that text is the same number as the truth | 2.0 |
| [`Quantity`] | … a number near the truth's, with the same unit | 2.0 |
| [`Choice`] | … the letter of the right option | 2.0 |
| [`Countdown`] | … an expression that reaches a number with given ones | 2.0 |
| [`Json`], `JsonSchema` (feature `json-schema`) | … JSON; JSON that a schema accepts | 0.5; 1.0 |
| [`Instructions`] | … as many words, sentences, keywords … as the prompt asked for | 1.0 |
| [`MathEquality`] | the answer, `\boxed{…}` or in tags, is mathematically equal to the truth | 2.0 |
| [`LastNumber`] | the last number of the text is the truth: for evaluations | 1.0 |
| [`Pattern`] | a regular expression matches, or doesn't | 0.5 |
| [`StrictFormat`] | exactly the prescribed layout, line by line | 0.5 |
| [`SoftFormat`] | the tags in order, regardless of line breaks | 0.5 |
| [`TagCount`] | each tag that appears exactly once | 4 × 0.125 |
| [`LayoutFormat`] | reasoning and answer, both non-empty, in tags of any name | 0.5 |
| [`SoftOverlong`] | staying below a number of tokens | 0 to −1 |
| [`Repetition`] | not repeating runs of words | 0 to a penalty |

The classic layout is a reasoning and an answer, each between tags on their own lines:

```text
<reasoning>
Half of 36 is 18.
</reasoning>
<answer>
18
</answer>
```

Rewards see only text: no token ids, no tensors. Anything prefilled into the prompt as the beginning of
the answer belongs in the completion's text, or the format rewards see only half of it.

# Example

```
use grpo_core::{Completion, Finish};
use grpo_reward::Rubric;

let rubric = Rubric::<str>::gsm8k();
let text = "<reasoning>\nHalf of 36.\n</reasoning>\n<answer>\n18\n</answer>\n".to_owned();
let scores = rubric.score("18", &Completion { text, n_tokens: 20, finish: Finish::Stop })?;

assert_eq!(rubric.names().collect::<Vec<_>>(), ["correctness", "format"]);
assert_eq!(scores.each, [2.0, 0.5]);
assert_eq!(scores.total, 2.5);
# Ok::<(), grpo_reward::RewardError>(())
```
*/

pub mod audit;

mod choice;
mod command;
mod correctness;
mod countdown;
mod error;
mod expression;
mod extract;
mod format;
mod instruction;
mod instructions;
mod json;
mod keyword;
mod last_number;
mod layout;
mod markup;
mod math;
mod measure;
mod number;
mod numeric;
mod overlong;
mod pattern;
mod quantity;
mod repetition;
mod row;
mod rubric;
mod scoring;
mod statistics;
mod text;
mod time_limit;
mod verifier;
mod version;

pub use choice::Choice;
pub use command::Command;
pub use correctness::Correctness;
pub use countdown::{Countdown, CountdownTruth, Usage};
pub use error::{RewardError, SettingError};
pub use extract::extract_answer;
pub use format::{SoftFormat, StrictFormat, TagCount};
pub use instruction::{Instruction, Quantifier};
pub use instructions::Instructions;
pub use json::Json;
#[cfg(feature = "json-schema")]
pub use json::JsonSchema;
pub use last_number::LastNumber;
pub use layout::{Layout, LayoutFormat};
pub use math::MathEquality;
pub use numeric::Numeric;
pub use overlong::SoftOverlong;
pub use pattern::Pattern;
pub use quantity::Quantity;
pub use repetition::Repetition;
pub use row::Row;
pub use rubric::{Rubric, Scores};
pub use statistics::RewardStatistics;
pub use verifier::{Verifier, VerifierExample};
