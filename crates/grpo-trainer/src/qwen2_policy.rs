use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use grpo_qwen2::{Group, KvCache, Pass, Qwen2, Scores, Tokenizer};
use grpo_rollout::Decoder;

use crate::{Optimizer, OptimizerConfig, Policy};

/// A Qwen2 model in full training: all weights, AdamW, and a frozen copy as the reference.
pub struct Qwen2Policy {
    /// Taken out only while the optimizer moves it.
    model: Option<Qwen2>,
    reference: Option<Qwen2>,
    tokenizer: Tokenizer,
    optimizer: Optimizer,
    gradients: GradientsParams,
}

impl Qwen2Policy {
    /// A policy that starts at `model`. The reference is needed if and only if the objective has a KL term; stored in
    /// BF16 ([`Precision::Bf16`]) it takes half the memory and is exact for a BF16 checkpoint.
    ///
    /// [`Precision::Bf16`]: grpo_qwen2::Precision::Bf16
    pub fn new(model: Qwen2, reference: Option<Qwen2>, tokenizer: Tokenizer, optimizer: &OptimizerConfig) -> Self {
        let optimizer = Optimizer::new(optimizer);
        Self { model: Some(model), reference, tokenizer, optimizer, gradients: GradientsParams::new() }
    }

    /// The model as it is now.
    pub fn model(&self) -> &Qwen2 {
        self.model.as_ref().expect("the model is only away during an update")
    }
}

impl Decoder for Qwen2Policy {
    type Cache = KvCache;

    fn context(&self) -> usize {
        self.model().context()
    }

    fn vocabulary(&self) -> usize {
        self.model().vocabulary()
    }

    fn prefill(&self, prompts: &[&[u32]], capacity: usize) -> (KvCache, Tensor<2>) {
        self.model().prefill(prompts, capacity)
    }

    fn decode(&self, tokens: &[u32], cache: &mut KvCache) -> Tensor<2> {
        self.model().decode(tokens, cache)
    }

    fn select(&self, cache: KvCache, rows: &[usize]) -> KvCache {
        self.model().select(cache, rows)
    }
}

impl Policy for Qwen2Policy {
    type Pass = Pass;

    fn text(&self, tokens: &[u32]) -> String {
        self.tokenizer.decode(tokens)
    }

    fn forward(&self, groups: &[Group<'_>], temperature: f32) -> (Vec<Scores>, Pass) {
        self.model().forward(groups, temperature)
    }

    fn backward(&mut self, pass: Pass, by_logprob: &[Vec<f32>]) {
        let model = self.model.as_ref().expect("the model is only away during an update");
        pass.backward(model, by_logprob, &mut self.gradients);
    }

    fn reference(&self, groups: &[Group<'_>], temperature: f32) -> Vec<Scores> {
        // Without a reference of its own the policy is near itself: a KL of zero.
        self.reference.as_ref().unwrap_or(self.model()).score(groups, temperature)
    }

    fn update(&mut self, learning_rate: f64, max_grad_norm: f64) -> f64 {
        let gradients = std::mem::take(&mut self.gradients);
        let model = self.model.take().expect("the model is only away during an update");
        let (model, norm) = self.optimizer.step(model, gradients, learning_rate, max_grad_norm);
        self.model = Some(model);
        norm
    }

    fn discard(&mut self) {
        self.gradients = GradientsParams::new();
    }
}
