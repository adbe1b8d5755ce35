//! Qwen2 or Qwen3 as a policy, with AdamW. Either all weights are trained, with a frozen copy as the reference; or adapters are
//! trained next to frozen weights, which the reference shares.

mod config;
mod memory;
mod model;
mod optimizer_state;
mod reference;
mod rollouts;

use std::path::Path;

use burn::tensor::Device;
use chrono::NaiveDateTime;
use grpo_qwen2::{ChatTokenizer, Message, ModelError, Qwen2};

use crate::{AdamW, Policy, Text};

pub use config::{Qwen2PolicyConfig, RolloutDtype};
pub use memory::{MemoryPlan, Workload};
pub use model::TrainedQwen2;
pub use reference::Qwen2Reference;

/// A Qwen2 or Qwen3 model in training.
pub type Qwen2Policy = Policy<ChatTokenizer, TrainedQwen2, AdamW, Qwen2Reference>;

impl Qwen2Policy {
    /// Loads a model folder in Hugging Face layout.
    ///
    /// Frozen weights take half the memory if the checkpoint is in BF16 ([`Qwen2::load_frozen`]).
    pub fn load(folder: &Path, device: &Device, config: &Qwen2PolicyConfig) -> Result<Self, ModelError> {
        config.validate()?;
        config.validate_local()?;
        config.check_device(device)?;
        let text = ChatTokenizer::read(folder)?;
        let model = TrainedQwen2::load(folder, device, config)?;
        let rollouts = rollouts::of(model.get(), config.rollout_dtype);
        Ok(Self { text, model, rollouts, optimizer: AdamW::new(&config.optimizer), reference: None })
    }

    /// The same with the adapters of a folder in PEFT's format instead of new ones. The configuration must ask for adapters.
    pub fn with_adapter(mut self, folder: &Path) -> Result<Self, ModelError> {
        self.model.load_adapter(folder)?;
        self.rollouts.follow(&self.model, 0);
        Ok(self)
    }

    /// The same, but if `on`, only the input of every layer is stored for the backward pass, and the rest is computed a second
    /// time: that takes less memory and more time, and never changes the result (TRL: `gradient_checkpointing`).
    pub fn with_activation_checkpointing(mut self, on: bool) -> Self {
        self.model.activation_checkpointing = on;
        self
    }

    /// The same, but saved adapters refer to their base model by this name, such as a Hub id; by default, by its folder.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.model.name = name.into();
        self
    }

    /// The same with this time for chat templates that write the date into prompts, instead of the local time at which the
    /// model was loaded. A run that is to be repeated needs the same time.
    pub fn with_clock(mut self, now: NaiveDateTime) -> Self {
        self.text.template = self.text.template.with_clock(now);
        self
    }

    /// The same with this value of the chat template's `enable_thinking`
    /// ([`ChatTemplate::with_thinking`](grpo_qwen2::ChatTemplate::with_thinking)).
    pub fn with_thinking(mut self, thinking: Option<bool>) -> Result<Self, ModelError> {
        self.text = self.text.with_thinking(thinking)?;
        Ok(self)
    }

    /// The token ids of a conversation up to where the assistant's turn begins.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        self.text.prompt(messages)
    }
}

impl<X, O> Policy<X, TrainedQwen2, O, Qwen2Reference> {
    /// The current model.
    pub fn model(&self) -> &Qwen2 {
        self.model.get()
    }

    /// Writes what is trained in its current state, in F32, so that no bit of it is lost: the model in Hugging Face layout, or
    /// its adapters in PEFT's format.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        self.model.save(folder)
    }

    /// Writes the current model in Hugging Face layout and in F32, with adapters merged into its matrices.
    pub fn save_merged(&self, folder: &Path) -> Result<(), ModelError> {
        self.model.save_merged(folder)
    }
}

impl Text for ChatTokenizer {
    fn stop(&self) -> &[u32] {
        &self.stop
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.completion(tokens)
    }
}
