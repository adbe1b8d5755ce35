use burn::tensor::{DType, Device};
use grpo_core::SamplerCorrection;
use grpo_kernels::{half_precision, supports_matrices_in};
use grpo_qwen2::LoraConfig;
use grpo_rollout::InvalidOption;
use serde::{Deserialize, Serialize};

use crate::AdamWConfig;

/// The configuration of a policy that is a Qwen2 or Qwen3 model.
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
    /// F16: the same, for a device that has no BF16. Rounding is eight times finer, but weights must not exceed 65,504.
    F16(SamplerCorrection),
}

impl RolloutDtype {
    /// How the loss corrects for the rounding; none if there is none.
    pub fn correction(self) -> Option<SamplerCorrection> {
        self.rounding().map(|(_, correction)| correction)
    }

    /// The dtype, and how the loss corrects for its rounding; none for F32.
    fn rounding(self) -> Option<(DType, SamplerCorrection)> {
        match self {
            Self::F32 => None,
            Self::Bf16(correction) => Some((DType::BF16, correction)),
            Self::F16(correction) => Some((DType::F16, correction)),
        }
    }
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

    /// Checks that this process can sample like this; servers may.
    pub fn validate_local(&self) -> Result<(), InvalidOption> {
        match self.rollout_dtype.rounding().filter(|_| self.lora.is_some()) {
            Some((dtype, _)) => {
                let expected = "with LoRA frozen weights are sampled with as they are stored already";
                Err(InvalidOption::new("rollout_dtype", format!("{dtype:?}"), expected))
            }
            None => Ok(()),
        }
    }

    /// Checks that the device has the dtypes.
    pub(super) fn check_device(&self, device: &Device) -> Result<(), InvalidOption> {
        let Some((dtype, _)) =
            self.rollout_dtype.rounding().filter(|(dtype, _)| !supports_matrices_in(device, *dtype))
        else {
            return Ok(());
        };
        let expected = match half_precision(device) {
            Some(DType::BF16) => "this device does not compute with it: use bf16",
            Some(_) => "this device does not compute with it: use f16",
            None => "this device computes only with F32: use f32",
        };
        Err(InvalidOption::new("rollout_dtype", format!("{dtype:?}"), expected))
    }

    fn validate_rollouts(&self) -> Result<(), InvalidOption> {
        let Some(SamplerCorrection { min, max, .. }) = self.rollout_dtype.correction() else {
            return Ok(());
        };
        InvalidOption::check_not_negative("importance_sampling_clip_min", min)?;
        if max.is_nan() || max < min.max(1.0) {
            let expected = "it must be at least 1, the ratio of a sampler that is the policy";
            return Err(InvalidOption::new("importance_sampling_clip_max", max, expected));
        }
        Ok(())
    }

    fn validate_optimizer(&self) -> Result<(), InvalidOption> {
        let AdamWConfig { beta1, beta2, epsilon, weight_decay, moments_dtype: _ } = self.optimizer;
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
