/*!
Verifiable rewards: checks that a program can run on the text of a completion.

Each reward is one small type that implements [`Reward`](grpo_core::Reward) for truths that are text, and each
is documented with a completion that earns it and one that does not. A [`Rubric`] is a named, weighted sum of
them.

| reward | pays for | default |
|---|---|---|
| [`Correctness`] | the text between the answer tags equals the truth | 2.0 |
| [`Numeric`] | that text is the same number as the truth | 2.0 |
| [`StrictFormat`] | exactly the prescribed layout, line by line | 0.5 |
| [`SoftFormat`] | the tags in their order, whatever the line breaks | 0.5 |
| [`TagCount`] | each tag that is there exactly once | 4 × 0.125 |

The layout they check is a reasoning and an answer, each between tags on lines of their own:

```text
<reasoning>
Half of 36 is 18.
</reasoning>
<answer>
18
</answer>
```

Rewards see text only: no token ids, no tensors. Whatever was prefilled into the prompt as the beginning of
the answer belongs in the completion's text, or the format rewards see half of it.

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

mod correctness;
mod error;
mod extract;
mod format;
mod numeric;
mod rubric;

pub use correctness::Correctness;
pub use error::RewardError;
pub use extract::extract_answer;
pub use format::{SoftFormat, StrictFormat, TagCount};
pub use numeric::Numeric;
pub use rubric::{Rubric, Scores};
