//! The state of AdamW in a checkpoint, by the names of weights.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::tensor::Tensor;
use grpo_qwen2::{Dtype, ModelError, NamedTensor, TensorFile, write_tensors};
use serde_json::{Value, json};

use crate::adamw::Moments;
use crate::{AdamW, Resumable, TrainedQwen2};

/// Its file in a checkpoint.
const FILE: &str = "optimizer.safetensors";
/// The names of the two means in torch.
const MEANS: [&str; 2] = ["exp_avg", "exp_avg_sq"];
/// An f32 counts exactly up to here.
const MAX_TIME: f32 = 16_777_216.0;

impl Resumable<TrainedQwen2> for AdamW {
    type Error = ModelError;

    fn settings(&self) -> Value {
        json!(self.config)
    }

    /// Writes the state of the weights that are trained to a safetensors file, with torch's names: for each weight `exp_avg`
    /// and `exp_avg_sq`, flat and in the order of this crate's memory, and `step`.
    fn save_state(&self, model: &TrainedQwen2, folder: &Path) -> Result<(), ModelError> {
        let mut tensors = Vec::new();
        for (name, weight) in model.get().trained() {
            let Some(Moments { time, means }) = self.moments.get(&weight.id()) else { continue };
            let device = means[0].device();
            let time = move || Tensor::<1>::from_data([*time as f32], &device);
            tensors.push(NamedTensor::new(format!("{name}.step"), [1], time));
            for (mean, kind) in means.iter().zip(MEANS) {
                let name = format!("{name}.{kind}");
                tensors.push(NamedTensor::new(name, [weight.elements()], || mean.clone()));
            }
        }
        write_tensors(&folder.join(FILE), &tensors, Dtype::F32)
    }

    /// It is an error if a file lacks part of a weight's state or has other tensors.
    fn load_state(&mut self, model: &TrainedQwen2, folder: &Path) -> Result<(), ModelError> {
        let (path, device) = (folder.join(FILE), model.get().device());
        let mut file = TensorFile::open(&path)?;
        let mut unknown: HashSet<String> = file.names().map(str::to_owned).collect();
        let mut moments = HashMap::new();
        for (name, weight) in model.get().trained() {
            let step = format!("{name}.step");
            if !unknown.remove(&step) {
                continue;
            }
            let time = file.read(&step, &[1])?[0];
            let mut mean = |kind| {
                let name = format!("{name}.{kind}");
                unknown.remove(&name);
                Ok::<_, ModelError>((file.read(&name, &[weight.elements()])?, name))
            };
            let ((first, _), (second, second_name)) = (mean(MEANS[0])?, mean(MEANS[1])?);
            let refuse = |tensor, reason: &str| {
                Err(ModelError::State { path: path.clone(), tensor, reason: reason.into() })
            };
            if time.fract() != 0.0 || !(1.0..MAX_TIME).contains(&time) {
                return refuse(step, "is no number of updates");
            }
            if second.iter().any(|square| *square < 0.0) {
                return refuse(second_name, "has a mean of squares below 0");
            }
            let means = [first, second].map(|mean| Tensor::from_data(mean.as_slice(), &device));
            moments.insert(weight.id(), Moments { time: time as usize, means });
        }
        if let Some(tensor) = unknown.into_iter().min() {
            let reason = "belongs to no weight that is trained".to_string();
            return Err(ModelError::State { path, tensor, reason });
        }
        self.moments = moments;
        Ok(())
    }
}
