use std::path::Path;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use grpo_qwen2::{
    ChatTokenizer, Group, Keep, KvCache, Message, ModelError, ModelFiles, Pass, Precision, Qwen2, Scores,
};
use grpo_rollout::Decoder;

use crate::{Optimizer, Policy, TrainerConfig};

/// A Qwen2 model in full training: all weights, AdamW, and a frozen copy as the reference.
pub struct Qwen2Policy {
    /// Taken out only while the optimizer moves it.
    model: Option<Qwen2>,
    reference: Option<Qwen2>,
    chat: ChatTokenizer,
    files: ModelFiles,
    optimizer: Optimizer,
    gradients: GradientsParams,
    keep: Keep,
}

impl Qwen2Policy {
    /// Loads a model folder in Hugging Face layout, and once more as the reference if the objective of `config` has a KL
    /// term: the trainer must be given the same `config`.
    ///
    /// The reference takes half the memory of the model if the checkpoint is BF16 ([`Qwen2::load_frozen`]).
    pub fn load(folder: &Path, device: &Device, config: &TrainerConfig) -> Result<Self, ModelError> {
        let chat = ChatTokenizer::read(folder)?;
        let model = Qwen2::load(folder, device)?;
        let needs_reference = config.objective.needs_reference();
        let reference = needs_reference.then(|| Qwen2::load_frozen(folder, device)).transpose()?;
        Ok(Self {
            model: Some(model),
            reference,
            chat,
            files: ModelFiles::read(folder)?,
            optimizer: Optimizer::new(&config.optimizer),
            gradients: GradientsParams::new(),
            keep: if config.gradient_checkpointing { Keep::Inputs } else { Keep::Activations },
        })
    }

    /// The model as it is now.
    pub fn model(&self) -> &Qwen2 {
        self.model.as_ref().expect("the model is only away during an update")
    }

    /// The ids of a conversation up to where the assistant's turn begins.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        self.chat.prompt(messages)
    }

    /// Writes the model as it is now, in Hugging Face layout and F32: no bit of what was trained is lost.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        self.model().save(&self.files, folder, Precision::F32)
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

    fn stop(&self) -> &[u32] {
        &self.chat.stop
    }

    fn detokenize(&self, tokens: &[u32]) -> String {
        self.chat.tokenizer.decode(tokens)
    }

    fn forward(&self, groups: &[Group<'_>], temperature: f32) -> (Vec<Scores>, Pass) {
        self.model().forward(groups, temperature, self.keep)
    }

    fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    fn backward(&mut self, pass: Pass, by_logprob: &[Vec<f32>]) {
        let model = self.model.as_ref().expect("the model is only away during an update");
        pass.backward(model, by_logprob, &mut self.gradients);
    }

    fn reference(&self, groups: &[Group<'_>], temperature: f32) -> Vec<Scores> {
        let reference = self.reference.as_ref().expect("the trainer asks for it only if there is one");
        reference.score(groups, temperature)
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
