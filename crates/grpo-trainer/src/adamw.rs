//! AdamW for the modules of burn.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use grpo_kernels::{AdamWUpdate, SumOfSquares};
use serde::{Deserialize, Serialize};

/// The numbers of AdamW, with TRL's defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the mean of gradients (TRL: `adam_beta1`).
    #[serde(rename = "adam_beta1")]
    pub beta1: f32,
    /// Decay of the mean of squared gradients (TRL: `adam_beta2`).
    #[serde(rename = "adam_beta2")]
    pub beta2: f32,
    /// Added to the root of the latter (TRL: `adam_epsilon`).
    #[serde(rename = "adam_epsilon")]
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// AdamW with the gradient's global norm clipped.
pub struct AdamW {
    pub(crate) config: AdamWConfig,
    pub(crate) moments: HashMap<ParamId, Moments>,
}

/// What AdamW knows of a parameter.
pub(crate) struct Moments {
    /// Updates so far.
    pub(crate) time: usize,
    /// Means of its gradient and of its square, flat.
    pub(crate) means: [Tensor<1>; 2],
}

impl AdamW {
    /// An optimizer that has seen no gradient.
    pub fn new(config: &AdamWConfig) -> Self {
        Self { config: *config, moments: HashMap::new() }
    }

    /// One step of `module` against `gradients`, scaled down to a global norm of `max_grad_norm` if they are longer.
    /// Returns the module and the norm before; a norm that is not finite leaves the module as it was.
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: GradientsParams,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> (M, f64) {
        let mut squares = Squares { gradients: &gradients, sum: SumOfSquares::default() };
        module.visit(&mut squares);
        let norm = squares.sum.total().sqrt();
        if !norm.is_finite() {
            return (module, norm);
        }
        let gradient_scale = if norm > max_grad_norm { max_grad_norm / norm } else { 1.0 };
        (module.map(&mut Update { optimizer: self, gradients, gradient_scale, learning_rate }), norm)
    }
}

/// Moves every parameter that has a gradient.
struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: GradientsParams,
    gradient_scale: f64,
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
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.optimizer.config;
        let Self { gradient_scale, learning_rate, .. } = *self;
        let time = time + 1;
        let update = AdamWUpdate { learning_rate, gradient_scale, beta1, beta2, epsilon, weight_decay, time };
        let (id, weight, mapper) = param.consume();
        let (weight, means) = update.apply(weight, gradient, means.map(|mean| mean.reshape(shape)));
        let means = means.map(|mean| mean.reshape([n]));
        self.optimizer.moments.insert(id, Moments { time, means });
        Param::from_mapped_value(id, weight, mapper)
    }
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: SumOfSquares,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sum.add(gradient);
        }
    }
}
