use grpo_qwen2::{Group, Scores};
use grpo_rollout::Decoder;

/// A model that can be sampled from ([`Decoder`]), scored, and changed.
///
/// Gradients add up over any number of [`backward`](Self::backward) calls until [`update`](Self::update) uses them
/// up or [`discard`](Self::discard) drops them.
pub trait Policy: Decoder {
    /// A forward pass that can be differentiated.
    type Pass;

    /// Token ids that end a completion.
    fn stop(&self) -> &[u32];

    /// The text of a completion's tokens, as rewards are to see it: with what a prompt has begun of it, and without stop tokens.
    fn detokenize(&self, tokens: &[u32]) -> String;

    /// Log-probabilities of the completions' tokens, one group after the other, at the given temperature.
    fn forward(&self, groups: &[Group<'_>], temperature: f32) -> (Vec<Scores>, Self::Pass);

    /// Adds up the gradient of a loss whose gradient by every log-probability is `by_logprob`.
    fn backward(&mut self, pass: Self::Pass, by_logprob: &[Vec<f32>]);

    /// Whether there is a reference model.
    fn has_reference(&self) -> bool;

    /// Log-probabilities of the completions' tokens under the reference model; asked for only if there is one.
    fn reference(&self, groups: &[Group<'_>], temperature: f32) -> Vec<Scores>;

    /// Moves the reference: `α · policy + (1 − α) · reference`; asked for only if there is one of its own.
    fn mix_reference(&mut self, alpha: f64);

    /// Moves the weights against the gradient, scaled down to `max_grad_norm` if it is longer, and returns its norm
    /// before that. A gradient that is not finite moves nothing.
    fn update(&mut self, learning_rate: f64, max_grad_norm: f64) -> f64;

    /// Drops the gradient.
    fn discard(&mut self);
}
