use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::FloatDType;

use super::extension::{Host, Kernel};

/// `x · w` of a constant `w` in BF16, which is cast to F32 for each product; the F32 copy is not kept.
#[derive(Debug)]
pub(crate) struct Bf16Product;

pub(super) fn to_f32(w: &Host) -> Host {
    Flex::float_cast(w.clone(), FloatDType::F32)
}

impl Kernel for Bf16Product {
    fn forward(&self, inputs: &[Host]) -> Host {
        Flex::float_matmul(inputs[0].clone(), to_f32(&inputs[1]))
    }

    fn kept(&self, inputs: &[Host]) -> Vec<Host> {
        vec![inputs[1].clone()]
    }

    /// The gradient with respect to `x`.
    fn backward(&self, kept: &[Host], gradient: &Host) -> Vec<Host> {
        vec![Flex::float_matmul(gradient.clone(), Flex::float_transpose(to_f32(&kept[0])))]
    }
}
