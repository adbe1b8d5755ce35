//! Linear interpolation between models.

use std::any::Any;
use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

use crate::Qwen2;

impl Qwen2 {
    /// `α · other + (1 − α) · self`, weight by weight, in f32.
    ///
    /// # Panics
    ///
    /// If the models differ in shape, or one of them has adapters.
    pub fn lerp(self, other: &Self, alpha: f64) -> Self {
        assert!(!self.has_lora() && !other.has_lora(), "adapters cannot be interpolated");
        let mut weights = Weights::default();
        other.visit(&mut weights);
        self.map(&mut Lerp { weights, alpha })
    }
}

/// Weights in the order in which a module visits them, whatever their rank.
#[derive(Default)]
struct Weights(VecDeque<Box<dyn Any>>);

impl ModuleVisitor for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push_back(Box::new(param.val()));
    }
}

struct Lerp {
    weights: Weights,
    alpha: f64,
}

impl ModuleMapper for Lerp {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let other = self.weights.0.pop_front().and_then(|weight| weight.downcast::<Tensor<D>>().ok());
        let other = other.expect("models of one shape have the same weights in the same order");
        param.map(|own| {
            own.cast(DType::F32).mul_scalar(1.0 - self.alpha) + other.cast(DType::F32).mul_scalar(self.alpha)
        })
    }
}
