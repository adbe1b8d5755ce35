use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use grpo_kernels::{float_tensor, to_host};
use grpo_qwen2::{ActivationCheckpointing, Dtype, LoraConfig, ModelError, ModelFiles, Pass, Qwen2};
use grpo_rollout::{PromptCompletions, TokenGradients, TokenLogProbs};
use serde_json::{Value, json};

use crate::{AdamW, Model, Optimizer, Qwen2PolicyConfig, Resumable};

/// A Qwen2 or Qwen3 model in training, with the contents of its folder other than the weights. A clone shares the weights until one of
/// them is updated.
#[derive(Clone)]
pub struct TrainedQwen2 {
    /// None only while it is being replaced.
    model: Option<Qwen2>,
    pub(super) files: ModelFiles,
    /// The name by which saved adapters refer to their base model.
    pub(super) name: String,
    lora: Option<LoraConfig>,
    pub(super) activation_checkpointing: bool,
}

impl TrainedQwen2 {
    pub(super) fn load(
        folder: &Path,
        device: &Device,
        config: &Qwen2PolicyConfig,
    ) -> Result<Self, ModelError> {
        let model = match &config.lora {
            Some(lora) => Qwen2::load_frozen(folder, device)?.with_lora(lora),
            None => Qwen2::load(folder, device)?,
        };
        Ok(Self {
            model: Some(model),
            files: ModelFiles::read(folder)?,
            name: folder.display().to_string(),
            lora: config.lora.clone(),
            activation_checkpointing: false,
        })
    }

    /// The current model.
    pub fn get(&self) -> &Qwen2 {
        self.model.as_ref().expect("the model is only away while it is replaced")
    }

    /// Which adapters are trained; none if the weights are trained.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
    }

    /// Whether a forward pass stores only the input of every layer.
    pub fn activation_checkpointing(&self) -> bool {
        self.activation_checkpointing
    }

    pub(super) fn load_adapter(&mut self, folder: &Path) -> Result<(), ModelError> {
        self.model = Some(self.get().without_lora().load_adapter(folder)?);
        Ok(())
    }

    /// Writes what is trained in its current state, in F32, so that no bit of it is lost: the model in Hugging Face layout, or its
    /// adapters in PEFT's format.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        if self.get().has_lora() {
            self.get().save_adapter(folder, &self.name)
        } else {
            self.save_merged(folder)
        }
    }

    pub(super) fn save_merged(&self, folder: &Path) -> Result<(), ModelError> {
        self.get().save(&self.files, folder, Dtype::F32)
    }
}

impl Model for TrainedQwen2 {
    type Pass = Pass;
    type Gradients = GradientsParams;

    fn forward(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> (Vec<TokenLogProbs>, Pass) {
        let checkpointing = if self.activation_checkpointing {
            ActivationCheckpointing::EveryLayer
        } else {
            ActivationCheckpointing::Off
        };
        self.get().forward(batch, temperature, checkpointing)
    }

    fn backward(&self, pass: Pass, slopes: &[TokenGradients], gradients: &mut GradientsParams) {
        pass.backward(self.get(), slopes, gradients);
    }

    fn all_reduce(&self, gradients: &mut GradientsParams, sum: &dyn Fn(&mut [f32])) {
        let mut present = Present { gradients, flags: Vec::new() };
        self.get().visit(&mut present);
        let mut flags = present.flags;
        sum(&mut flags);
        self.get().visit(&mut Sum { gradients, anywhere: flags.into_iter(), sum });
    }
}

/// Which parameters have a gradient: 1 or 0 for each.
struct Present<'a> {
    gradients: &'a GradientsParams,
    flags: Vec<f32>,
}

impl ModuleVisitor for Present<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.flags.push(f32::from(u8::from(self.gradients.get::<D>(param.id).is_some())));
    }
}

/// Replaces the gradient of every parameter by its sum over all processes, some of which may have none.
struct Sum<'a> {
    gradients: &'a mut GradientsParams,
    /// In how many processes each parameter has one.
    anywhere: std::vec::IntoIter<f32>,
    sum: &'a dyn Fn(&mut [f32]),
}

impl ModuleVisitor for Sum<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.anywhere.next().is_none_or(|processes| processes == 0.0) {
            return;
        }
        let (shape, device) = (param.val().dims(), param.val().device());
        let own = self.gradients.remove::<D>(param.id).map(to_host);
        let mut values = own.unwrap_or_else(|| vec![0.0; shape.iter().product()]);
        (self.sum)(&mut values);
        self.gradients.register(param.id, float_tensor(values, shape, &device.inner()));
    }
}

impl Optimizer<TrainedQwen2> for AdamW {
    fn update(
        &mut self,
        model: &mut TrainedQwen2,
        gradients: GradientsParams,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> f64 {
        let own = model.model.take().expect("the model is only away while it is replaced");
        let (own, norm) = self.step(own, gradients, learning_rate, max_grad_norm);
        model.model = Some(own);
        norm
    }
}

/// In a checkpoint, the model or only its adapters: each is a folder that other programs can use.
const MODEL: &str = "model";
const ADAPTER: &str = "adapter";

impl Resumable for TrainedQwen2 {
    type Error = ModelError;

    fn settings(&self) -> Value {
        json!({ "lora": self.lora })
    }

    fn save_state(&self, (): &(), folder: &Path) -> Result<(), ModelError> {
        self.save(&folder.join(if self.get().has_lora() { ADAPTER } else { MODEL }))
    }

    fn load_state(&mut self, (): &(), folder: &Path) -> Result<(), ModelError> {
        if self.get().has_lora() {
            return self.load_adapter(&folder.join(ADAPTER));
        }
        let (device, config, folder) = (self.get().device(), self.get().config().clone(), folder.join(MODEL));
        // Frees the old weights before the new ones are loaded.
        self.model = None;
        self.model = Some(Qwen2::load(&folder, &device)?.of_shape(&config, &folder)?);
        Ok(())
    }
}
