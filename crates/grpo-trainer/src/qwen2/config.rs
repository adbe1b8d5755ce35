use burn::tensor::{DType, Device};
use grpo_core::SamplerCorrection;
use grpo_qwen2::LoraConfig;
use grpo_rollout::InvalidOption;
use serde::{Deserialize, Serialize};

use crate::AdamWConfig;

/// The configuration of a policy that is a Qwen2 model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qwen2PolicyConfig {
    /// Trains low-rank adapters instead of the weights.
    pub lora: Option<LoraConfig>,
    /// The sampling settings for completions, also in evaluations.
    pub rollout_dtype: RolloutDtype,
    /// The optimizer's settings.
    pub optimizer: AdamWConfig,
}

/// The type of the weights that completions are sampled with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RolloutDtype {
    /// F32: the model in training itself. (With LoRA, frozen weights stay in the format in which they are stored.)
    #[default]
    F32,
    /// BF16: a rounded copy next to the model, half its size, so that half as much memory is read per token. The loss corrects
    /// for the rounding (TRL: `vllm_importance_sampling_mode`, `…_clip_min`, `…_clip_max`).
    Bf16(SamplerCorrection),
}

impl Qwen2PolicyConfig {
    /// Checks that every number is in its range.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        if let Some(lora) = &self.lora {
            lora.validate()?;
        }
        self.validate_rollouts()?;
        self.validate_optimizer()
    }

    /// Checks that the device has the dtypes.
    pub(super) fn check_device(&self, device: &Device) -> Result<(), InvalidOption> {
        let is_supported = device.supports_dtype(DType::BF16);
        if !is_supported && matches!(self.rollout_dtype, RolloutDtype::Bf16(_)) {
            return Err(InvalidOption::new(
                "rollout_dtype",
                "BF16",
                "this device computes only with F32: use f32",
            ));
        }
        Ok(())
    }

    fn validate_rollouts(&self) -> Result<(), InvalidOption> {
        let RolloutDtype::Bf16(SamplerCorrection { min, max, .. }) = self.rollout_dtype else {
            return Ok(());
        };
        if self.lora.is_some() {
            let expected = "with LoRA frozen weights are sampled with as they are stored already";
            return Err(InvalidOption::new("rollout_dtype", "BF16", expected));
        }
        InvalidOption::check_not_negative("importance_sampling_clip_min", min)?;
        if max.is_nan() || max < min.max(1.0) {
            let expected = "it must be at least 1, the ratio of a sampler that is the policy";
            return Err(InvalidOption::new("importance_sampling_clip_max", max, expected));
        }
        Ok(())
    }

    fn validate_optimizer(&self) -> Result<(), InvalidOption> {
        let AdamWConfig { beta1, beta2, epsilon, weight_decay } = self.optimizer;
        InvalidOption::check_not_negative("weight_decay", weight_decay.into())?;
        InvalidOption::check_positive("adam_epsilon", epsilon.into())?;
        for (option, value) in [("adam_beta1", beta1), ("adam_beta2", beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(InvalidOption::new(option, value, "it must be at least 0 and below 1"));
            }
        }
        Ok(())
    }
}
