/*!
The GRPO algorithm in plain numbers: rewards, advantages, objectives.

Group Relative Policy Optimization samples several completions of one problem, scores each, and reinforces the
ones that did better than their group. This crate holds the parts of that sentence that are arithmetic:

| step | type | maps |
|---|---|---|
| score | [`Reward`] | a truth and a [`Completion`] to a number |
| compare | [`Aggregation`], [`Advantage`] | the rewards of the step's groups to an advantage per completion |
| learn | [`Objective`] | the log-probabilities of a completion and the advantages of its tokens to a loss and its gradient |

A [`Recipe`] is what a paper prescribes for a whole run: objective, advantage, aggregation, and what goes with them.

# One key design decision

**The objective is a function of plain numbers.** The loss depends on the model only through the
log-probabilities of the tokens that were sampled. So an [`Objective`] takes those, one completion at a time,
and returns the loss together with its derivative with respect to each log-probability. There is no tensor here, no mask
and no padding, and whatever computes the log-probabilities needs no knowledge of the loss: it runs its
backward pass on `Σ log-probability · gradient`, with the gradient held constant, and gets the gradient of the
loss with respect to its weights. Three things follow:

* a variant of the loss is tested in milliseconds, in double precision, without a model;
* the crate builds in a second and fits any framework, or none;
* the size of a micro-batch cannot change the result: [`Objective::scales`] sees all completions of the step,
  and scaled losses and gradients of any split add up to those of the whole.

# Example

One step by hand: three completions of one problem, scored, compared, and turned into a gradient.

```
use grpo_core::{Completion, Finish, LogProbs, Recipe, Reward};

let concise = |limit: &usize, completion: &Completion| if completion.n_tokens <= *limit { 1.0 } else { 0.0 };
let sampled = [(1, -0.7), (2, -1.2), (3, -0.1)]; // number of tokens, log-probability of each

let rewards: Vec<f32> = sampled
    .iter()
    .map(|&(n_tokens, _)| Completion { text: "so".repeat(n_tokens), n_tokens, finish: Finish::Stop })
    .map(|completion| concise.score(&2, &completion))
    .collect();
let Recipe { advantage, objective, .. } = Recipe::dapo(256);
let advantages = advantage.of_group(&rewards);

let scales = objective.scales(&[1, 2, 3]);
let mut loss = 0.0;
for ((&(n_tokens, logprob), &advantage), scale) in sampled.iter().zip(&advantages).zip(scales) {
    let current = vec![logprob; n_tokens]; // the policy that is trained is still the one that sampled
    let term = objective.completion_loss(LogProbs::new(&current, &current)?, &vec![advantage.into(); n_tokens])?;
    loss += scale * term.loss;
    // A descent step raises the log-probability of what was better than the group.
    assert!(term.gradient.iter().all(|slope| (*slope < 0.0) == (advantage > 0.0)));
}
assert!((loss - 0.353478).abs() < 1e-6);
# Ok::<(), grpo_core::LogProbsError>(())
```
*/

mod advantage;
mod correction;
mod logprobs;
mod loss;
mod objective;
mod paper;
mod recipe;
mod reward;
mod statistics;
mod surrogate;

pub use advantage::{Advantage, Aggregation};
pub use correction::{Bound, Level, SamplerCorrection};
pub use logprobs::{LogProbs, LogProbsError};
pub use loss::CompletionLoss;
pub use objective::{Kl, Normalization, Objective, Ratio, Surrogate};
pub use paper::Paper;
pub use recipe::Recipe;
pub use reward::{Asked, Completion, Finish, GroupReward, Message, Reward};
pub use statistics::{Ddof, mean, std};
