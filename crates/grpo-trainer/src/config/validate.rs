//! Checks that the trainer's numbers are in range.

use grpo_core::{Kl, Normalization, Ratio, Surrogate};
use grpo_rollout::InvalidOption;

use crate::{Schedule, TrainerConfig};

/// Far above any practical use, and far below the point where memory runs out.
const MAX_SIZE: usize = 1 << 16;
const MAX_REDRAWS: usize = 1 << 12;
/// Far above any model's context.
const MAX_LENGTH: usize = 1 << 24;

impl TrainerConfig {
    /// Checks that every number is in range.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        self.validate_sizes()?;
        self.sampling.validate()?;
        if self.sampling.temperature == 0.0 {
            let expected = "it must be above 0: training needs samples that differ";
            return Err(InvalidOption::new("temperature", 0, expected));
        }
        self.validate_objective()?;
        self.validate_learning_rate()?;
        self.validate_reference()
    }

    fn validate_sizes(&self) -> Result<(), InvalidOption> {
        if self.group_size < 2 {
            let expected = "it must be at least 2: in a smaller group, every advantage is 0";
            return Err(InvalidOption::new("group_size", self.group_size, expected));
        }
        if self.group_size > MAX_SIZE {
            return Err(InvalidOption::new("group_size", self.group_size, "it must be at most 65536"));
        }
        if self.recipe.max_redraws > MAX_REDRAWS {
            return Err(InvalidOption::new(
                "max_redraws",
                self.recipe.max_redraws,
                "it must be at most 4096",
            ));
        }
        if let (0, Some(name)) = (self.recipe.max_redraws, &self.redraw_reward) {
            let expected = "it has no effect without dynamic sampling: set max_redraws, too";
            return Err(InvalidOption::new("redraw_reward", name, expected));
        }
        for (option, value) in [
            ("max_completion_length", self.max_completion_length),
            ("updates", self.updates),
            ("micro_batch_tokens", self.micro_batch_tokens),
            ("batch_rows", self.batch_rows),
        ] {
            if value == 0 {
                return Err(InvalidOption::new(option, value, "it must be at least 1"));
            }
        }
        if self.lag > 1 {
            return Err(InvalidOption::new("lag", self.lag, "it must be 0 or 1"));
        }
        if self.max_completion_length > MAX_LENGTH {
            let expected = "it must be at most 16777216";
            return Err(InvalidOption::new("max_completion_length", self.max_completion_length, expected));
        }
        let cache = self.recipe.soft_overlong_cache.unwrap_or(0);
        if cache > self.max_completion_length {
            let expected = "it must be at most the maximum completion length";
            return Err(InvalidOption::new("soft_overlong_cache", cache, expected));
        }
        Ok(())
    }

    fn validate_objective(&self) -> Result<(), InvalidOption> {
        let objective = &self.recipe.objective;
        InvalidOption::check_not_negative("beta", objective.beta)?;
        match objective.surrogate {
            Surrogate::Clipped { low, high, delta } => {
                InvalidOption::check_not_negative("epsilon", low)?;
                InvalidOption::check_not_negative("epsilon_high", high)?;
                delta.map_or(Ok(()), |delta| InvalidOption::check_positive("delta", delta))?;
            }
            Surrogate::Cispo { max } => InvalidOption::check_positive("epsilon_high", max)?,
            Surrogate::Sapo { temperature_pos, temperature_neg } => {
                InvalidOption::check_positive("sapo_temperature_pos", temperature_pos)?;
                InvalidOption::check_positive("sapo_temperature_neg", temperature_neg)?;
            }
            Surrogate::Vespo { k_pos, lambda_pos, k_neg, lambda_neg } => {
                InvalidOption::check_not_negative("vespo_k_pos", k_pos)?;
                InvalidOption::check_not_negative("vespo_lambda_pos", lambda_pos)?;
                InvalidOption::check_not_negative("vespo_k_neg", k_neg)?;
                InvalidOption::check_not_negative("vespo_lambda_neg", lambda_neg)?;
            }
        }
        if let Normalization::MaxLength(n) = objective.normalization
            && n != self.max_completion_length
        {
            let expected = "it must be the run's max_completion_length, by which Dr. GRPO divides";
            return Err(InvalidOption::new("normalization", n, expected));
        }
        if let (Surrogate::Vespo { .. }, Ratio::Sequence, Kl::K3) =
            (objective.surrogate, objective.ratio, objective.kl)
        {
            let expected = "VESPO has no per-completion ratio";
            return Err(InvalidOption::new("importance_sampling_level", "sequence", expected));
        }
        if objective.kl == Kl::BiasCorrectedK3 && !self.needs_reference() {
            let expected = "there is no KL term to correct: beta is 0";
            return Err(InvalidOption::new("use_bias_correction_kl", true, expected));
        }
        objective.off_policy_threshold.map_or(Ok(()), |threshold| {
            InvalidOption::check_not_negative("off_policy_mask_threshold", threshold)
        })?;
        InvalidOption::check_share("top_entropy_quantile", objective.top_entropy_quantile)
    }

    fn validate_learning_rate(&self) -> Result<(), InvalidOption> {
        InvalidOption::check_not_negative("learning_rate", self.learning_rate)?;
        // No bound is represented as infinity.
        if self.max_grad_norm.is_nan() || self.max_grad_norm <= 0.0 {
            return Err(InvalidOption::new("max_grad_norm", self.max_grad_norm, "it must be above 0"));
        }
        match self.schedule {
            Schedule::Linear { steps } | Schedule::Cosine { steps } if steps <= self.warmup_steps => {
                let expected =
                    "it must be more than the warm-up, or the learning rate would fall to 0 at once";
                Err(InvalidOption::new("steps", steps, expected))
            }
            _ => Ok(()),
        }
    }

    fn validate_reference(&self) -> Result<(), InvalidOption> {
        let Some(sync) = self.reference_sync else { return Ok(()) };
        if sync.steps == 0 {
            return Err(InvalidOption::new("ref_model_sync_steps", 0, "it must be at least 1"));
        }
        if !self.needs_reference() {
            return Err(InvalidOption::new(
                "sync_ref_model",
                true,
                "there is no reference to move: beta is 0",
            ));
        }
        InvalidOption::check_positive("ref_model_mixup_alpha", sync.mixup_alpha)?;
        InvalidOption::check_share("ref_model_mixup_alpha", sync.mixup_alpha)
    }
}
