//! Models that are not trained: held in as little memory as represents them exactly.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use half::bf16;

use crate::Qwen2;

impl Qwen2 {
    /// The model as a frozen reference, without adapters: the same as what [`load_frozen`](Self::load_frozen) returns for the
    /// same weights. A matrix whose values are all BF16 numbers is held in BF16; every other tensor is shared with clones of
    /// the model, not copied.
    ///
    /// It takes the model by value, so that a call never resolves to [`Module::freeze`], which it replaces.
    pub fn freeze(self) -> Self {
        self.without_lora().no_grad().map(&mut Freeze)
    }
}

/// Holds matrices in BF16 where BF16 represents them exactly.
struct Freeze;

impl ModuleMapper for Freeze {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let tensor = param.val();
        if D != 2 || tensor.dtype() == DType::BF16 {
            return param;
        }
        let device = tensor.device();
        let values = tensor.into_data();
        let values = values.as_slice().expect("a matrix that is not in BF16 is in F32");
        if is_exact_in_bf16(values, &device) { param.map(|matrix| matrix.cast(DType::BF16)) } else { param }
    }
}

/// Whether `device` can hold `values` in BF16 without changing any of them.
pub(crate) fn is_exact_in_bf16(values: &[f32], device: &Device) -> bool {
    device.supports_dtype(DType::BF16) && values.iter().all(|v| bf16::from_f32(*v).to_f32() == *v)
}
