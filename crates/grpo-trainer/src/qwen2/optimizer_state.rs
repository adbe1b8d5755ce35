//! The state of AdamW in a checkpoint, by the names of weights.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::tensor::Tensor;
use grpo_kernels::Moments;
use grpo_qwen2::{Dtype, ModelError, NamedTensor, Qwen2, TensorFile, write_tensors};
use serde_json::{Value, json};

use crate::adamw::State;
use crate::{AdamW, MomentsDtype, Resumable, TrainedQwen2};

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
    /// and `exp_avg_sq`, flat, in the order of this crate's memory and in the dtype of the moments, and `step`.
    fn save_state(&self, model: &TrainedQwen2, folder: &Path) -> Result<(), ModelError> {
        self.write(model.get(), &folder.join(FILE))
    }

    /// It is an error if a file lacks part of a weight's state or has other tensors.
    fn load_state(&mut self, model: &TrainedQwen2, folder: &Path) -> Result<(), ModelError> {
        self.read(model.get(), &folder.join(FILE))
    }
}

impl AdamW {
    fn write(&self, model: &Qwen2, path: &Path) -> Result<(), ModelError> {
        let dtype = match self.config.moments_dtype {
            MomentsDtype::F32 => Dtype::F32,
            MomentsDtype::Bf16 => Dtype::Bf16,
        };
        let mut tensors = Vec::new();
        for (name, weight) in model.trained() {
            let parts = weight.parts().into_iter().map(|(id, _)| self.states.get(&id));
            let Some(parts) = parts.collect::<Option<Vec<&State>>>() else { continue };
            let (time, device) = (parts[0].time as f32, model.device());
            let time = move || Tensor::<1>::from_data([time], &device);
            tensors.push(NamedTensor::new(format!("{name}.step"), [1], Dtype::F32, time));
            let kinds: [fn(&Moments) -> Vec<f32>; 2] = [Moments::first, Moments::second];
            for (values, kind) in kinds.into_iter().zip(MEANS) {
                let (name, parts) = (format!("{name}.{kind}"), parts.clone());
                let values = move || parts.iter().map(|state| values(&state.moments)).collect();
                tensors.push(NamedTensor::of_values(name, [weight.elements()], dtype, values));
            }
        }
        write_tensors(path, &tensors)
    }

    fn read(&mut self, model: &Qwen2, path: &Path) -> Result<(), ModelError> {
        let device = model.device();
        let mut file = TensorFile::open(path)?;
        let mut unknown: HashSet<String> = file.names().map(str::to_owned).collect();
        let mut states = HashMap::new();
        for (name, weight) in model.trained() {
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
                Err(ModelError::State { path: path.to_owned(), tensor, reason: reason.into() })
            };
            if time.fract() != 0.0 || !(1.0..MAX_TIME).contains(&time) {
                return refuse(step, "is no number of updates");
            }
            if second.iter().any(|square| *square < 0.0) {
                return refuse(second_name, "has a mean of squares below 0");
            }
            let mut start = 0;
            for (id, elements) in weight.parts() {
                let of_part = start..start + elements;
                start = of_part.end;
                let dtype = self.config.moments_dtype.dtype();
                let values = [&first, &second].map(|mean| &mean[of_part.clone()]);
                let moments = Moments::from_values(values, dtype, &device);
                states.insert(id, State { time: time as usize, moments });
            }
        }
        if let Some(tensor) = unknown.into_iter().min() {
            let reason = "belongs to no weight that is trained".to_string();
            return Err(ModelError::State { path: path.to_owned(), tensor, reason });
        }
        self.states = states;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use grpo_qwen2::{ActivationCheckpointing, Config};
    use grpo_rollout::{PromptCompletions, TokenGradients};
    use grpo_test_device::device;

    use super::*;
    use crate::AdamWConfig;

    fn new(moments_dtype: MomentsDtype) -> AdamW {
        AdamW::new(&AdamWConfig { moments_dtype, ..AdamWConfig::default() })
    }

    /// An optimizer that has seen a gradient of `model`.
    fn stepped(model: &Qwen2, moments_dtype: MomentsDtype) -> AdamW {
        let batch = [PromptCompletions { prompt: &[2, 90], completions: vec![&[95, 3, 40]] }];
        let (_, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
        let mut gradients = GradientsParams::new();
        pass.backward(model, &[TokenGradients::of_logprobs(vec![1.0, -0.5, 2.0])], &mut gradients);
        let mut optimizer = new(moments_dtype);
        optimizer.step(model.clone(), gradients, 1e-3, 1e9);
        optimizer
    }

    /// The moments by name, with those of all parts of a weight together.
    fn moments(optimizer: &AdamW, model: &Qwen2) -> Vec<(String, Vec<f32>)> {
        let of_weight = |(name, weight): (String, grpo_qwen2::Weight<'_>)| {
            let parts = weight.parts();
            let of = |i: usize| {
                let mean = |(id, _): &(_, _)| {
                    let moments = &optimizer.states[id].moments;
                    if i == 0 { moments.first() } else { moments.second() }
                };
                parts.iter().flat_map(mean).collect::<Vec<f32>>()
            };
            (name, [of(0), of(1)].concat())
        };
        model.trained().into_iter().map(of_weight).collect()
    }

    #[test]
    fn a_checkpoint_does_not_depend_on_how_tables_are_split() {
        let config = Config {
            vocab_size: 100,
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 8,
            ..Config::qwen2_5_0_5b()
        };
        let whole = Qwen2::init(config, 1, &device());
        let split = whole.clone().with_split_tables(30);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for dtype in [MomentsDtype::F32, MomentsDtype::Bf16] {
            for (from, to) in [(&whole, &split), (&split, &whole)] {
                let (saved, mut loaded) = (stepped(from, dtype), new(dtype));
                saved.write(from, &path).unwrap();
                loaded.read(to, &path).unwrap();
                assert_eq!(moments(&loaded, to), moments(&saved, from));
            }
        }
    }
}
