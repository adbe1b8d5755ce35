//! Models that are not trained: held in half precision where that changes nothing, or next to nothing.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor};
use grpo_kernels::{half_precision, to_host};
use half::{bf16, f16};

use crate::{Qwen2, Table};

/// The rounding that a matrix in F16 may have, relative to its largest value: a hundredth of that of BF16.
const F16_ROUNDING: f32 = 1.0 / (1 << 16) as f32;

impl Qwen2 {
    /// The model as a frozen reference: the same as what [`load_frozen`](Self::load_frozen) returns for the same weights, and the
    /// adapters, unless they change nothing, as new ones do. Matrices are held in half precision under its conditions; every other
    /// tensor is shared with clones of the model, not copied.
    ///
    /// It takes the model by value, so that a call never resolves to [`Module::freeze`], which it replaces.
    pub fn freeze(self) -> Self {
        let model = if self.is_changed_by_lora() { self } else { self.without_lora() }.no_grad();
        Self {
            embed_tokens: model.embed_tokens.freeze(),
            layers: model.layers.map(&mut Freeze),
            lm_head: model.lm_head.map(Table::freeze),
            ..model
        }
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
        let dtype = frozen_dtype(&to_host(tensor), &device);
        param.map(|matrix| matrix.cast(dtype))
    }
}

/// The dtype that `device` holds a frozen matrix of BF16 numbers in: BF16; or F16 on a device without BF16, if the matrix is in its
/// range. Any other matrix is held in F32.
pub(crate) fn frozen_dtype(values: &[f32], device: &Device) -> DType {
    let is_bf16 = || values.iter().all(|v| bf16::from_f32(*v).to_f32() == *v);
    match half_precision(device) {
        Some(DType::BF16) if is_bf16() => DType::BF16,
        Some(DType::F16) if is_bf16() && is_in_range_of_f16(values) => DType::F16,
        _ => DType::F32,
    }
}

/// Neither above 65,504 nor so small that F16's absolute rounding shows.
fn is_in_range_of_f16(values: &[f32]) -> bool {
    let largest = values.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    values.iter().all(|v| (f16::from_f32(*v).to_f32() - v).abs() <= F16_ROUNDING * largest)
}
