use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use grpo_kernels::{AdamW, sum_of_squares};
use grpo_qwen2::{ModelError, NamedTensor, Precision, TensorFile, Weight, write_tensors};
use serde::Serialize;

/// The numbers of AdamW, with TRL's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OptimizerConfig {
    /// Decay of the mean of gradients (TRL: `adam_beta1`).
    pub beta1: f32,
    /// Decay of the mean of squared gradients (TRL: `adam_beta2`).
    pub beta2: f32,
    /// Added to the root of the latter (TRL: `adam_epsilon`).
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// AdamW with the gradient's global norm clipped.
pub struct Optimizer {
    config: OptimizerConfig,
    moments: HashMap<ParamId, Moments>,
}

/// What AdamW knows of a parameter.
struct Moments {
    /// Updates so far.
    time: usize,
    /// Means of its gradient and of its square, flat.
    means: [Tensor<1>; 2],
}

impl Optimizer {
    /// An optimizer that has seen no gradient.
    pub fn new(config: &OptimizerConfig) -> Self {
        Self { config: *config, moments: HashMap::new() }
    }

    /// One step of `module` against `gradients`, scaled down to a global norm of `max_grad_norm` if they are longer.
    /// Returns the module and the norm before; a norm that is not finite leaves the module as it was.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        mut gradients: GradientsParams,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> (M, f64) {
        let mut squares = SumOfSquares { gradients: &gradients, sum: 0.0 };
        module.visit(&mut squares);
        let norm = squares.sum.sqrt();
        if !norm.is_finite() {
            return (module, norm);
        }
        if norm > max_grad_norm {
            module.visit(&mut Scale { gradients: &mut gradients, factor: max_grad_norm / norm });
        }
        (module.map(&mut Update { optimizer: self, gradients, learning_rate }), norm)
    }

    /// Writes what it knows of `parameters` to a safetensors file, with torch's names: for each of them `exp_avg` and
    /// `exp_avg_sq`, flat and in the order of this crate's own memory, and `step`.
    pub(crate) fn save(&self, path: &Path, parameters: &[(String, Weight<'_>)]) -> Result<(), ModelError> {
        let mut tensors = Vec::new();
        for (name, weight) in parameters {
            let Some(Moments { time, means }) = self.moments.get(&weight.id()) else { continue };
            let device = means[0].device();
            let time = move || Tensor::<1>::from_data([*time as f32], &device);
            tensors.push(NamedTensor::new(format!("{name}.step"), [1], time));
            for (mean, kind) in means.iter().zip(MEANS) {
                let name = format!("{name}.{kind}");
                tensors.push(NamedTensor::new(name, [weight.elements()], || mean.clone()));
            }
        }
        write_tensors(path, &tensors, Precision::F32)
    }

    /// The optimizer with what [`save`](Self::save) has written of `parameters`, on `device`. A file that lacks a part of
    /// what is known of one of them, or has other tensors, is an error.
    pub(crate) fn load(
        self,
        path: &Path,
        parameters: &[(String, Weight<'_>)],
        device: &Device,
    ) -> Result<Self, ModelError> {
        let mut file = TensorFile::open(path)?;
        let mut unknown: HashSet<String> = file.names().map(str::to_owned).collect();
        let mut moments = HashMap::new();
        for (name, weight) in parameters {
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
                Err(ModelError::State { path: path.into(), tensor, reason: reason.into() })
            };
            if time.fract() != 0.0 || !(1.0..MAX_TIME).contains(&time) {
                return refuse(step, "is no number of updates");
            }
            if second.iter().any(|square| *square < 0.0) {
                return refuse(second_name, "has a mean of squares below 0");
            }
            let means = [first, second].map(|mean| Tensor::from_data(mean.as_slice(), device));
            moments.insert(weight.id(), Moments { time: time as usize, means });
        }
        match unknown.into_iter().min() {
            Some(tensor) => {
                let reason = "belongs to no weight that is trained".to_string();
                Err(ModelError::State { path: path.into(), tensor, reason })
            }
            None => Ok(Self { moments, ..self }),
        }
    }
}

/// What torch calls the two means.
const MEANS: [&str; 2] = ["exp_avg", "exp_avg_sq"];
/// Up to here an f32 counts exactly.
const MAX_TIME: f32 = 16_777_216.0;

/// Moves every parameter that has a gradient.
struct Update<'a> {
    optimizer: &'a mut Optimizer,
    gradients: GradientsParams,
    learning_rate: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let (shape, n) = (gradient.dims(), gradient.dims().iter().product::<usize>());
        let Moments { time, means } = self.optimizer.moments.remove(&param.id).unwrap_or_else(|| {
            let zeros = || gradient.zeros_like().reshape([n]);
            Moments { time: 0, means: [zeros(), zeros()] }
        });
        let OptimizerConfig { beta1, beta2, epsilon, weight_decay } = self.optimizer.config;
        let (learning_rate, time) = (self.learning_rate, time + 1);
        let adamw = AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, time };
        let (id, weight, mapper) = param.consume();
        let (weight, means) = adamw.update(weight, gradient, means.map(|mean| mean.reshape(shape)));
        let means = means.map(|mean| mean.reshape([n]));
        self.optimizer.moments.insert(id, Moments { time, means });
        Param::from_mapped_value(id, weight, mapper)
    }
}

struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum += sum_of_squares(gradient);
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let id: ParamId = param.id;
        if let Some(gradient) = self.gradients.remove::<D>(id) {
            self.gradients.register(id, gradient.mul_scalar(self.factor));
        }
    }
}
