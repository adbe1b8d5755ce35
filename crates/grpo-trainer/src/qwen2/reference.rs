use std::path::Path;

use grpo_qwen2::{Dtype, ModelError, Qwen2};
use grpo_rollout::{PromptCompletions, TokenLogProbs};
use serde_json::{Value, json};

use crate::{Reference, Resumable, TrainedQwen2};

/// Its folder in a checkpoint.
const REFERENCE: &str = "reference";

/// The model that a run started from, with the adapters that it continues (as TRL's `ref` adapter), or the one it has been moved to
/// since.
pub struct Qwen2Reference {
    model: Qwen2,
    /// Whether it differs from the model that the run started from.
    moved: bool,
    /// Whether adapters are trained.
    of_lora: bool,
}

impl Qwen2Reference {
    /// The model.
    pub fn model(&self) -> &Qwen2 {
        &self.model
    }

    /// A reference that has moved to `model`.
    fn moved(model: Qwen2) -> Self {
        Self { model, moved: true, of_lora: false }
    }
}

impl Reference<TrainedQwen2> for Qwen2Reference {
    fn freeze(model: &TrainedQwen2) -> Self {
        Self { model: model.get().clone().freeze(), moved: false, of_lora: model.get().has_lora() }
    }

    fn logprobs(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> Vec<TokenLogProbs> {
        self.model.logprobs(batch, temperature)
    }

    fn lerp(self, model: &TrainedQwen2, alpha: f64) -> Self {
        Self::moved(self.model.lerp(model.get(), alpha))
    }

    fn cannot_move(&self) -> Option<&'static str> {
        self.of_lora
            .then_some("with LoRA the reference shares the frozen weights of the policy, which cannot move")
    }
}

impl Resumable<TrainedQwen2> for Qwen2Reference {
    type Error = ModelError;

    /// The reference starts from the same weights as the model, and has its adapters or none.
    fn settings(&self) -> Value {
        json!({ "adapters": self.model.has_lora() })
    }

    fn save_state(&self, model: &TrainedQwen2, folder: &Path) -> Result<(), ModelError> {
        if self.moved { self.model.save(&model.files, &folder.join(REFERENCE), Dtype::F32) } else { Ok(()) }
    }

    fn load_state(&mut self, model: &TrainedQwen2, folder: &Path) -> Result<(), ModelError> {
        let folder = folder.join(REFERENCE);
        if folder.exists() {
            let (device, config) = (model.get().device(), model.get().config());
            *self = Self::moved(Qwen2::load_frozen(&folder, &device)?.of_shape(config, &folder)?);
        }
        Ok(())
    }
}
