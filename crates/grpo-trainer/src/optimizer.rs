use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{self, AdaptiveMomentumState, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use grpo_kernels::{AdamW, sum_of_squares};

/// The numbers of AdamW, with TRL's defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    adamw: ModuleOptimizer,
}

impl Optimizer {
    /// An optimizer that has seen no gradient.
    pub fn new(config: &OptimizerConfig) -> Self {
        Self { adamw: ModuleOptimizer::from(Update(*config)) }
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
        // Burn's optimizers take modules under autodiff only.
        let module = self.adamw.step(learning_rate, module.train(), gradients);
        (module.valid(), norm)
    }
}

/// The update of one parameter.
#[derive(Clone)]
struct Update(OptimizerConfig);

impl optim::Optimizer for Update {
    type State<const D: usize> = AdaptiveMomentumState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdaptiveMomentumState<D>>,
    ) -> (Tensor<D>, Option<AdaptiveMomentumState<D>>) {
        let (time, moments) = match state {
            Some(state) => (state.time + 1, [state.moment_1, state.moment_2]),
            None => (1, [gradient.zeros_like(), gradient.zeros_like()]),
        };
        let Self(OptimizerConfig { beta1, beta2, epsilon, weight_decay }) = *self;
        let adamw = AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, time };
        let (weight, [first, second]) = adamw.update(weight, gradient, moments);
        (weight, Some(AdaptiveMomentumState::new(time, first, second)))
    }

    fn to_device<const D: usize>(
        mut state: AdaptiveMomentumState<D>,
        device: &Device,
    ) -> AdaptiveMomentumState<D> {
        state.moment_1 = state.moment_1.to_device(device);
        state.moment_2 = state.moment_2.to_device(device);
        state
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
