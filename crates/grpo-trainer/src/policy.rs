//! The policy and the traits of its parts.

use std::path::Path;

use grpo_rollout::{Decoder, Local, PromptCompletions, Rollouts, TokenGradients, TokenLogProbs};
use serde_json::Value;

/// From tokens to text.
pub trait Text {
    /// Token ids that end a completion.
    fn stop(&self) -> &[u32];

    /// A completion's text as rewards see it: with the part that the prompt already begins, and without stop tokens.
    fn decode(&self, tokens: &[u32]) -> String;
}

/// A model that computes log-probabilities of tokens and backpropagates the gradient of a loss to its weights.
pub trait Model {
    /// A forward pass that can be differentiated.
    type Pass;
    /// The gradient of a loss with respect to the weights; the default is zero.
    type Gradients: Default;

    /// Log-probabilities of the completions' tokens, prompt by prompt, under `softmax(logits / temperature)`.
    fn forward(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> (Vec<TokenLogProbs>, Self::Pass);

    /// Backpropagates `slopes`, the gradient of a loss with respect to the log-probabilities of each completion, and adds the
    /// gradient with respect to the weights to `gradients`, so that gradients of two micro-batches never exist at once.
    fn backward(&self, pass: Self::Pass, slopes: &[TokenGradients], gradients: &mut Self::Gradients);

    /// Adds the gradients of other processes: `sum` replaces numbers by their sums over all processes, each of which has to call it
    /// for the same numbers in the same order.
    fn all_reduce(&self, gradients: &mut Self::Gradients, sum: &dyn Fn(&mut [f32]));
}

/// The reference model of the KL term.
pub trait Reference<M>: Sized {
    /// A frozen copy of a model.
    fn freeze(model: &M) -> Self;

    /// Log-probabilities of the completions' tokens, as returned by [`Model::forward`].
    fn logprobs(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> Vec<TokenLogProbs>;

    /// The reference moved towards a model: `α · model + (1 − α) · reference`.
    fn lerp(self, model: &M, alpha: f64) -> Self;

    /// Why [`lerp`](Self::lerp) cannot move it; none if it can.
    fn cannot_move(&self) -> Option<&'static str> {
        None
    }
}

/// Updates the weights of a model.
pub trait Optimizer<M: Model> {
    /// Moves the weights against the gradient, clipped to the norm `max_grad_norm`, and returns the norm before clipping. A
    /// gradient that is not finite changes no weight.
    fn update(
        &mut self,
        model: &mut M,
        gradients: M::Gradients,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> f64;
}

/// A part of a policy that can be saved in a checkpoint: the model, or a part that belongs to a model `M`.
pub trait Resumable<M = ()> {
    /// The error if it cannot be written or read.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Its settings that future steps depend on.
    fn settings(&self) -> Value;

    /// Writes everything that training has changed in it to files in a folder, which the parts of a policy share with the
    /// trainer's `state.json` and `manifest.json`.
    fn save_state(&self, model: &M, folder: &Path) -> Result<(), Self::Error>;

    /// Restores what [`save_state`](Self::save_state) wrote; called on a part in its state at the start of the run.
    fn load_state(&mut self, model: &M, folder: &Path) -> Result<(), Self::Error>;
}

/// A policy: a model in training, and the parts that use it. Every part except the model, which the others belong to, can be
/// replaced independently.
///
/// To bring your own model, implement the traits of the parts. Here the model is a table: the logits of a stop token, `yes`
/// and `no`, independent of the context. It learns never to say `yes`:
///
/// ```
/// use burn::tensor::{Device, Tensor, TensorData};
/// use grpo_core::Completion;
/// use grpo_reward::Rubric;
/// use grpo_rollout::{Decoder, PromptCompletions, TokenGradients, TokenLogProbs};
/// use grpo_trainer::{Model, Optimizer, Policy, Problem, Reference, Text, Trainer, TrainerConfig, TrainerError};
///
/// #[derive(Clone)]
/// struct Table([f32; 3]);
///
/// impl Table {
///     fn logits(&self, n: usize) -> Tensor<2> { Tensor::from_data(TensorData::new(self.0.repeat(n), [n, 3]), &Device::flex()) }
///     fn log_softmax(&self, temperature: f32) -> [f32; 3] {
///         let sum: f32 = self.0.iter().map(|logit| (logit / temperature).exp()).sum();
///         self.0.map(|logit| logit / temperature - sum.ln())
///     }
/// }
///
/// impl Decoder for Table {
///     type Cache = ();
///     type Prompt = ();
///     fn context(&self) -> usize { 100 }
///     fn vocabulary(&self) -> usize { 3 }
///     fn prefill(&self, prompts: &[&[u32]], _: Option<&()>) -> (Vec<()>, Tensor<2>) {
///         (vec![(); prompts.len()], self.logits(prompts.len()))
///     }
///     fn cache(&self, _: usize, _: usize) {}
///     fn start(&self, _: &mut (), _: &[usize], _: &()) {}
///     fn decode(&self, _: &mut (), rows: &[usize], _: &[u32]) -> Tensor<2> { self.logits(rows.len()) }
/// }
///
/// impl Model for Table {
///     type Pass = (Vec<u32>, f32); // all tokens of the batch, and the temperature
///     type Gradients = [f32; 3];
///     fn forward(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> (Vec<TokenLogProbs>, Self::Pass) {
///         let all = self.log_softmax(temperature);
///         let entropy: f32 = all.iter().map(|logprob| -logprob * logprob.exp()).sum();
///         let score = |tokens: &&[u32]| TokenLogProbs {
///             logprobs: tokens.iter().map(|token| all[*token as usize]).collect(),
///             entropies: vec![entropy; tokens.len()],
///         };
///         let completions: Vec<&[u32]> = batch.iter().flat_map(|prompt| prompt.completions.clone()).collect();
///         (completions.iter().map(score).collect(), (completions.concat(), temperature))
///     }
///     fn backward(&self, (tokens, temperature): Self::Pass, slopes: &[TokenGradients], gradients: &mut [f32; 3]) {
///         let p = self.log_softmax(temperature).map(f32::exp);
///         for (token, slope) in tokens.iter().zip(slopes.iter().flat_map(|of_one| &of_one.logprobs)) {
///             gradients[*token as usize] += slope / temperature;
///             (0..3).for_each(|id| gradients[id] -= slope * p[id] / temperature);
///         }
///     }
///     fn all_reduce(&self, gradients: &mut [f32; 3], sum: &dyn Fn(&mut [f32])) { sum(gradients) }
/// }
///
/// impl Reference<Table> for Table {
///     fn freeze(model: &Table) -> Self { model.clone() }
///     fn logprobs(&self, batch: &[PromptCompletions<'_>], t: f32) -> Vec<TokenLogProbs> { self.forward(batch, t).0 }
///     fn lerp(self, to: &Table, a: f64) -> Self { Table([0, 1, 2].map(|i| self.0[i] + a as f32 * (to.0[i] - self.0[i]))) }
/// }
///
/// struct Sgd;
/// impl Optimizer<Table> for Sgd {
///     fn update(&mut self, model: &mut Table, gradients: [f32; 3], rate: f64, max_norm: f64) -> f64 {
///         let norm = gradients.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
///         if !norm.is_finite() { return norm; }
///         let rate = (rate * (max_norm / norm).min(1.0)) as f32;
///         (0..3).for_each(|id| model.0[id] -= rate * gradients[id]);
///         norm
///     }
/// }
///
/// struct Words;
/// impl Text for Words {
///     fn stop(&self) -> &[u32] { &[0] }
///     fn decode(&self, ids: &[u32]) -> String { ids.iter().map(|id| ["", "yes", "no"][*id as usize]).collect() }
/// }
///
/// let without = |word: &String, completion: &Completion| if completion.text.contains(word) { 0.0 } else { 1.0 };
/// let rubric = Rubric::new().with("without", 1.0, without);
/// let config = TrainerConfig { learning_rate: 0.2, max_completion_length: 4, ..TrainerConfig::default() };
/// let mut trainer = Trainer::new(Policy::new(Words, Table([0.0; 3]), Sgd), rubric, config)?;
/// let problems = [Problem { id: 0, prompt: vec![2], messages: vec![], truth: "yes".to_owned() }];
/// let rewards: Vec<f64> = (0..100).map(|_| Ok(trainer.step(&problems)?.reward)).collect::<Result<_, TrainerError>>()?;
/// let mean = |rewards: &[f64]| rewards.iter().sum::<f64>() / rewards.len() as f64;
/// assert!(mean(&rewards[..20]) < 0.8 && mean(&rewards[80..]) > 0.95, "{rewards:?}");
/// # Ok::<(), TrainerError>(())
/// ```
pub struct Policy<X, M, O, R = M> {
    /// The text of its tokens.
    pub text: X,
    /// The model in training.
    pub model: M,
    /// Samples from it.
    pub rollouts: BoxedRollouts<M>,
    /// Updates its weights.
    pub optimizer: O,
    /// The reference of the KL term, if there is one.
    pub reference: Option<R>,
}

/// Where a policy is sampled.
pub type BoxedRollouts<M> = Box<dyn Rollouts<M> + Send + Sync>;

impl<X, M: Decoder, O> Policy<X, M, O> {
    /// A policy sampled in this process. Its reference, if the objective needs one, is the model at the time it is passed to
    /// a [`Trainer`](crate::Trainer).
    pub fn new(text: X, model: M, optimizer: O) -> Self {
        Self { text, model, rollouts: Box::new(Local), optimizer, reference: None }
    }
}

impl<X, M, O, R> Policy<X, M, O, R> {
    /// The policy with another text, which may be a wrapper of this one.
    pub fn map_text<Y>(self, wrap: impl FnOnce(X) -> Y) -> Policy<Y, M, O, R> {
        let Self { text, model, rollouts, optimizer, reference } = self;
        Policy { text: wrap(text), model, rollouts, optimizer, reference }
    }

    /// The policy with another optimizer, which may be a wrapper of this one.
    pub fn map_optimizer<P>(self, wrap: impl FnOnce(O) -> P) -> Policy<X, M, P, R> {
        let Self { text, model, rollouts, optimizer, reference } = self;
        Policy { text, model, rollouts, optimizer: wrap(optimizer), reference }
    }
}
