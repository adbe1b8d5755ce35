use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;

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
        let adamw = AdamWConfig::new()
            .with_beta_1(config.beta1)
            .with_beta_2(config.beta2)
            .with_epsilon(config.epsilon)
            .with_weight_decay(config.weight_decay)
            .init();
        Self { adamw }
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

/// Squares are summed in f32 along rows and in f64 across them.
struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let rows = gradient.square().sum_dim(D - 1).into_data();
            self.sum += rows.iter::<f64>().sum::<f64>();
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
