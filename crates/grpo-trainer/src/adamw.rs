//! AdamW for the modules of burn.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use grpo_kernels::{AdamWUpdate, Moments, SumOfSquares};
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
    /// What both means are stored in.
    pub moments_dtype: MomentsDtype,
}

/// The dtype of AdamW's two moments, which are computed in F32 either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MomentsDtype {
    /// F32: 8 bytes for every weight that is trained.
    #[default]
    F32,
    /// BF16, rounded stochastically ([`Moments`]): 4 bytes. (TRL's `optim="adamw_bnb_8bit"` takes 2.)
    Bf16,
}

impl MomentsDtype {
    /// The same in burn.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, moments_dtype: MomentsDtype::F32 }
    }
}

/// AdamW with the gradient's global norm clipped.
pub struct AdamW {
    pub(crate) config: AdamWConfig,
    pub(crate) states: HashMap<ParamId, State>,
}

/// What AdamW knows of a parameter.
pub(crate) struct State {
    /// Updates so far.
    pub(crate) time: usize,
    pub(crate) moments: Moments,
}

impl AdamW {
    /// An optimizer that has seen no gradient.
    pub fn new(config: &AdamWConfig) -> Self {
        Self { config: *config, states: HashMap::new() }
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
        let mut update = Update { optimizer: self, gradients, gradient_scale, learning_rate, parameters: 0 };
        (module.map(&mut update), norm)
    }
}

/// Moves every parameter that has a gradient.
struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: GradientsParams,
    gradient_scale: f64,
    learning_rate: f64,
    /// Those so far, with or without a gradient.
    parameters: usize,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let parameter = self.parameters;
        self.parameters += 1;
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
        let AdamWConfig { beta1, beta2, epsilon, weight_decay, moments_dtype } = self.optimizer.config;
        let State { time, moments } = self.optimizer.states.remove(&param.id).unwrap_or_else(|| {
            let n = gradient.dims().iter().product();
            State { time: 0, moments: Moments::zeros(n, moments_dtype.dtype(), &gradient.device()) }
        });
        let Self { gradient_scale, learning_rate, .. } = *self;
        let time = time + 1;
        let update = AdamWUpdate {
            learning_rate,
            gradient_scale,
            beta1,
            beta2,
            epsilon,
            weight_decay,
            time,
            parameter,
        };
        let (id, weight, mapper) = param.consume();
        let (weight, moments) = update.apply(weight, gradient, moments);
        self.optimizer.states.insert(id, State { time, moments });
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
