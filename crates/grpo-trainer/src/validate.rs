//! Whether a configuration can be trained with.

use grpo_core::{Normalization, SamplerCorrection, Surrogate};

use crate::{TrainerConfig, TrainerError};

/// Far above what anyone has use for, and far below where memory is sure to end.
const MAX_SIZE: usize = 1 << 16;
const MAX_REDRAWS: usize = 1 << 12;

impl TrainerConfig {
    /// Checks that every number is in its range.
    pub fn validate(&self) -> Result<(), TrainerError> {
        if self.group_size < 2 {
            let expected = "a group needs at least 2 completions to compare: with fewer every advantage is 0";
            return Err(invalid("group_size", self.group_size, expected));
        }
        if self.group_size > MAX_SIZE {
            return Err(invalid("group_size", self.group_size, "a group has at most 65536 completions"));
        }
        if self.max_redraws > MAX_REDRAWS {
            return Err(invalid("max_redraws", self.max_redraws, "it must be at most 4096"));
        }
        for (option, value) in [
            ("max_completion_length", self.max_completion_length),
            ("updates", self.updates),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("batch_rows", self.batch_rows),
        ] {
            if value == 0 {
                return Err(invalid(option, value, "it must be at least 1"));
            }
        }
        self.sampling.validate().map_err(|cause| TrainerError::Rollout { problem: None, cause })?;
        if self.sampling.temperature == 0.0 {
            let expected = "training needs samples that differ: it must be above 0";
            return Err(invalid("temperature", 0, expected));
        }
        self.validate_objective()?;
        let SamplerCorrection { min, max, .. } = self.sampler_correction;
        not_negative("importance_sampling_clip_min", min)?;
        if max.is_nan() || max < min.max(1.0) {
            let expected = "it must be at least 1, the ratio of a sampler that is the policy";
            return Err(invalid("importance_sampling_clip_max", max, expected));
        }
        self.validate_optimizer()?;
        self.validate_lora()?;
        self.validate_reference()
    }

    fn validate_objective(&self) -> Result<(), TrainerError> {
        let objective = &self.objective;
        not_negative("beta", objective.beta)?;
        match objective.surrogate {
            Surrogate::Clipped { low, high, delta } => {
                not_negative("epsilon", low)?;
                not_negative("epsilon_high", high)?;
                delta.map_or(Ok(()), |delta| positive("delta", delta))?;
            }
            Surrogate::Cispo { max } => positive("epsilon_high", max)?,
            Surrogate::Sapo { temperature_pos, temperature_neg } => {
                positive("sapo_temperature_pos", temperature_pos)?;
                positive("sapo_temperature_neg", temperature_neg)?;
            }
            Surrogate::Vespo { k_pos, lambda_pos, k_neg, lambda_neg } => {
                not_negative("vespo_k_pos", k_pos)?;
                not_negative("vespo_lambda_pos", lambda_pos)?;
                not_negative("vespo_k_neg", k_neg)?;
                not_negative("vespo_lambda_neg", lambda_neg)?;
            }
        }
        if objective.normalization == Normalization::MaxLength(0) {
            let expected = "Dr. GRPO divides by it: it must be at least 1";
            return Err(invalid("max_completion_length", 0, expected));
        }
        objective
            .off_policy_threshold
            .map_or(Ok(()), |threshold| not_negative("off_policy_mask_threshold", threshold))?;
        share("top_entropy_quantile", objective.top_entropy_quantile)
    }

    fn validate_optimizer(&self) -> Result<(), TrainerError> {
        let optimizer = &self.optimizer;
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("weight_decay", optimizer.weight_decay.into())?;
        // No bound at all is a bound of infinity.
        if self.max_grad_norm.is_nan() || self.max_grad_norm <= 0.0 {
            return Err(invalid("max_grad_norm", self.max_grad_norm, "it must be above 0"));
        }
        positive("adam_epsilon", optimizer.epsilon.into())?;
        for (option, value) in [("adam_beta1", optimizer.beta1), ("adam_beta2", optimizer.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(invalid(option, value, "it must be at least 0 and below 1"));
            }
        }
        Ok(())
    }

    fn validate_lora(&self) -> Result<(), TrainerError> {
        let Some(lora) = &self.lora else { return Ok(()) };
        if lora.rank == 0 {
            return Err(invalid("rank", 0, "an adapter has a rank of at least 1"));
        }
        if lora.rank > MAX_SIZE {
            return Err(invalid("rank", lora.rank, "an adapter has a rank of at most 65536"));
        }
        if lora.targets.is_empty() {
            return Err(invalid("targets", "empty", "adapters need a linear layer to stand beside"));
        }
        if self.narrow_rollouts {
            let expected = "with LoRA frozen weights are sampled with as they are stored already";
            return Err(invalid("narrow_rollouts", true, expected));
        }
        positive("alpha", lora.alpha)
    }

    fn validate_reference(&self) -> Result<(), TrainerError> {
        let Some(sync) = self.reference_sync else { return Ok(()) };
        if sync.steps == 0 {
            return Err(invalid("ref_model_sync_steps", 0, "it must be at least 1"));
        }
        if !self.objective.needs_reference() {
            return Err(invalid("sync_ref_model", true, "there is no reference to move: beta is 0"));
        }
        if self.lora.is_some() {
            let expected = "with LoRA the reference is the model without adapters, which cannot move";
            return Err(invalid("sync_ref_model", true, expected));
        }
        share("ref_model_mixup_alpha", sync.mixup_alpha)
    }
}

fn invalid(option: &'static str, value: impl ToString, expected: &'static str) -> TrainerError {
    TrainerError::InvalidOption { option, value: value.to_string(), expected }
}

fn not_negative(option: &'static str, value: f64) -> Result<(), TrainerError> {
    let valid = value >= 0.0 && value.is_finite();
    if valid { Ok(()) } else { Err(invalid(option, value, "it must be 0 or a positive number")) }
}

fn positive(option: &'static str, value: f64) -> Result<(), TrainerError> {
    let valid = value > 0.0 && value.is_finite();
    if valid { Ok(()) } else { Err(invalid(option, value, "it must be a positive number")) }
}

fn share(option: &'static str, value: f64) -> Result<(), TrainerError> {
    let valid = (0.0..=1.0).contains(&value);
    if valid { Ok(()) } else { Err(invalid(option, value, "it must be at least 0 and at most 1")) }
}
