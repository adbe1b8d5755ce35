use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use crate::builder::Builder;
use crate::model_tensors::ModelTensors;
use crate::{Config, ModelError, Qwen2};

impl Qwen2 {
    /// Loads a model folder in Hugging Face layout: `config.json`, and `model.safetensors` or its shards and their index, in
    /// BF16, F16 or F32. The weights are held in F32, for training.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        load(folder, false, device)
    }

    /// Loads a model that is not trained, in as little memory as represents it exactly: a matrix whose values are all BF16
    /// numbers, as in the published checkpoints, is held in BF16. It computes the same as the model that [`load`](Self::load)
    /// returns. A device without BF16 holds it in F16 instead, unless a value is above 65,504: there values below 2⁻¹⁷ are rounded
    /// by at most 2⁻²⁵, which must be at most 2⁻¹⁶ of the largest.
    pub fn load_frozen(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        Ok(load(folder, true, device)?.no_grad())
    }

    /// The model, which was read from `folder`, if it has this shape.
    pub fn of_shape(self, config: &Config, folder: &Path) -> Result<Self, ModelError> {
        if self.config != *config {
            return Err(ModelError::OtherShape { path: folder.into() });
        }
        Ok(self)
    }
}

fn load(folder: &Path, frozen: bool, device: &Device) -> Result<Qwen2, ModelError> {
    let config = Config::read(&folder.join("config.json"))?;
    let mut source = ModelTensors::open(folder, &config)?;
    let model = Builder { source: &mut source, frozen, device }.model(config)?;
    source.check_all_read(model.config())?;
    Ok(model)
}
