//! Models that are not trained: held in half precision where that changes nothing.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use grpo_kernels::multiplies;
use half::{bf16, f16};

use crate::Qwen2;

/// The rounding of the smallest numbers of F16, which is a hundred-thousandth of a typical weight.
const F16_ROUNDING: f32 = 1.0 / (1 << 25) as f32;

impl Qwen2 {
    /// The model as a frozen reference, without adapters: the same as what [`load_frozen`](Self::load_frozen) returns for the
    /// same weights. Matrices are held in half precision under its conditions; every other tensor is shared with clones of the
    /// model, not copied.
    ///
    /// It takes the model by value, so that a call never resolves to [`Module::freeze`], which it replaces.
    pub fn freeze(self) -> Self {
        self.without_lora().no_grad().map(&mut Freeze)
    }
}

struct Freeze;

impl ModuleMapper for Freeze {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let tensor = param.val();
        if D != 2 || tensor.dtype() != DType::F32 {
            return param;
        }
        let device = tensor.device();
        let values = tensor.into_data();
        let dtype = frozen_dtype(values.as_slice().expect("the matrix is in F32"), &device);
        param.map(|matrix| matrix.cast(dtype))
    }
}

/// The dtype that `device` holds a frozen matrix in: BF16 if that changes no value; F16 on a device without BF16, if no value is
/// out of its range and none changes by more than the rounding of its smallest numbers; or else F32.
pub(crate) fn frozen_dtype(values: &[f32], device: &Device) -> DType {
    let in_f16 = |v: &f32| (f16::from_f32(*v).to_f32() - v).abs() <= F16_ROUNDING;
    if multiplies(device, DType::BF16) {
        let is_exact = values.iter().all(|v| bf16::from_f32(*v).to_f32() == *v);
        if is_exact { DType::BF16 } else { DType::F32 }
    } else if multiplies(device, DType::F16) && values.iter().all(in_f16) {
        DType::F16
    } else {
        DType::F32
    }
}
