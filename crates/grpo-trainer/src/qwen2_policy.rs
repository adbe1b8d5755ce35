use std::path::Path;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use chrono::NaiveDateTime;
use grpo_qwen2::{
    ChatTokenizer, Group, Keep, KvCache, Message, ModelError, ModelFiles, Pass, Precision, Qwen2, Scores,
};
use grpo_rollout::Decoder;

use crate::{MemoryPlan, Optimizer, Policy, Resumable, TrainerConfig};

/// In a checkpoint, the model or its adapters by themselves: each is a folder that other programs can use.
const MODEL: &str = "model";
const ADAPTER: &str = "adapter";
const REFERENCE: &str = "reference";
const OPTIMIZER: &str = "optimizer.safetensors";

/// A Qwen2 model in training: all weights, with a frozen copy as the reference, or adapters beside frozen weights, which are
/// the reference too; and AdamW.
pub struct Qwen2Policy {
    /// Taken out only while the optimizer moves it.
    model: Option<Qwen2>,
    reference: Option<Qwen2>,
    /// Whether the reference is no longer what it was loaded as.
    reference_moved: bool,
    /// The model in BF16, to sample with.
    narrow: Option<Qwen2>,
    chat: ChatTokenizer,
    files: ModelFiles,
    name: String,
    optimizer: Optimizer,
    gradients: GradientsParams,
    keep: Keep,
}

impl Qwen2Policy {
    /// Loads a model folder in Hugging Face layout, and once more as the reference if the objective of `config` has a KL
    /// term: the trainer must be given the same `config`.
    ///
    /// What is frozen takes half the memory if the checkpoint is BF16 ([`Qwen2::load_frozen`]).
    pub fn load(folder: &Path, device: &Device, config: &TrainerConfig) -> Result<Self, ModelError> {
        let chat = ChatTokenizer::read(folder)?;
        let needs_reference = config.objective.needs_reference();
        let (model, reference) = match &config.lora {
            Some(lora) => {
                let base = Qwen2::load_frozen(folder, device)?;
                (base.clone().with_lora(lora, config.seed), needs_reference.then_some(base))
            }
            None => {
                let reference = needs_reference.then(|| Qwen2::load_frozen(folder, device)).transpose()?;
                (Qwen2::load(folder, device)?, reference)
            }
        };
        Ok(Self {
            narrow: config.narrow_rollouts.then(|| model.narrow()),
            model: Some(model),
            reference,
            reference_moved: false,
            chat,
            files: ModelFiles::read(folder)?,
            name: folder.display().to_string(),
            optimizer: Optimizer::new(&config.optimizer),
            gradients: GradientsParams::new(),
            keep: if config.gradient_checkpointing { Keep::Inputs } else { Keep::Activations },
        })
    }

    /// The model as it is now.
    pub fn model(&self) -> &Qwen2 {
        self.model.as_ref().expect("the model is only away during an update")
    }

    /// The same with the adapters of a folder in PEFT's format, in place of new ones. The trainer's configuration must ask for
    /// adapters.
    pub fn with_adapter(mut self, folder: &Path) -> Result<Self, ModelError> {
        self.model = Some(self.model().without_lora().load_adapter(folder)?);
        Ok(self)
    }

    /// The same under the name that saved adapters call their model by, an id on the Hub, say; by default its folder.
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The same with this time for chat templates that write the date into prompts, in place of the local time at which the
    /// model was loaded. A run that is to be repeated needs the same time.
    pub fn with_clock(mut self, now: NaiveDateTime) -> Self {
        self.chat.template = self.chat.template.with_clock(now);
        self
    }

    /// How much memory training takes by `config`, with so many problems a step and prompts of at most `prompt` tokens.
    pub fn memory_plan(&self, config: &TrainerConfig, problems: usize, prompt: usize) -> MemoryPlan {
        let frozen = self.reference.as_ref().unwrap_or(self.model());
        MemoryPlan::new(self.model().config(), config, problems, prompt, frozen.is_narrow())
    }

    /// What samples.
    fn sampler(&self) -> &Qwen2 {
        self.narrow.as_ref().unwrap_or(self.model())
    }

    /// The ids of a conversation up to where the assistant's turn begins.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        self.chat.prompt(messages)
    }

    /// Writes what is trained as it is now, in F32, so that no bit of it is lost: the model in Hugging Face layout, or its
    /// adapters in PEFT's.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        match self.model().has_lora() {
            true => self.model().save_adapter(folder, &self.name),
            false => self.save_merged(folder),
        }
    }

    /// Writes the model as it is now in Hugging Face layout and F32, adapters merged into its matrices.
    pub fn save_merged(&self, folder: &Path) -> Result<(), ModelError> {
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
        self.sampler().prefill(prompts, capacity)
    }

    fn decode(&self, tokens: &[u32], cache: &mut KvCache) -> Tensor<2> {
        self.sampler().decode(tokens, cache)
    }

    fn select(&self, cache: KvCache, rows: &[usize]) -> KvCache {
        self.sampler().select(cache, rows)
    }
}

impl Policy for Qwen2Policy {
    type Pass = Pass;

    fn stop(&self) -> &[u32] {
        &self.chat.stop
    }

    fn detokenize(&self, tokens: &[u32]) -> String {
        self.chat.completion(tokens)
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

    fn mix_reference(&mut self, alpha: f64) {
        let reference = self.reference.take().expect("the trainer asks for it only if there is one");
        self.reference = Some(reference.mix(self.model(), alpha));
        self.reference_moved = true;
    }

    fn update(&mut self, learning_rate: f64, max_grad_norm: f64) -> f64 {
        let gradients = std::mem::take(&mut self.gradients);
        let model = self.model.take().expect("the model is only away during an update");
        let (model, norm) = self.optimizer.step(model, gradients, learning_rate, max_grad_norm);
        // The old copy goes before there is a new one.
        self.narrow = self.narrow.take().map(drop).map(|()| model.narrow());
        self.model = Some(model);
        norm
    }

    fn discard(&mut self) {
        self.gradients = GradientsParams::new();
    }
}

impl Resumable for Qwen2Policy {
    fn save_state(&self, folder: &Path) -> Result<(), ModelError> {
        self.save(&folder.join(if self.model().has_lora() { ADAPTER } else { MODEL }))?;
        if let Some(reference) = self.reference.as_ref().filter(|_| self.reference_moved) {
            reference.save(&self.files, &folder.join(REFERENCE), Precision::F32)?;
        }
        self.optimizer.save(&folder.join(OPTIMIZER), &self.model().trained())
    }

    fn load_state(mut self, folder: &Path) -> Result<Self, ModelError> {
        let (device, config) = (self.model().device(), self.model().config().clone());
        // What is there goes before the other comes, to be held once.
        let model = match self.model.take().filter(Qwen2::has_lora) {
            Some(model) => model.load_adapter(&folder.join(ADAPTER))?,
            None => {
                let folder = folder.join(MODEL);
                Qwen2::load(&folder, &device)?.of_shape(&config, &folder)?
            }
        };
        let reference = folder.join(REFERENCE);
        if reference.exists() {
            self.reference = None;
            self.reference = Some(Qwen2::load_frozen(&reference, &device)?.of_shape(&config, &reference)?);
            self.reference_moved = true;
        }
        self.optimizer = self.optimizer.load(&folder.join(OPTIMIZER), &model.trained(), &device)?;
        self.narrow = self.narrow.take().map(drop).map(|()| model.narrow());
        self.model = Some(model);
        Ok(self)
    }
}
