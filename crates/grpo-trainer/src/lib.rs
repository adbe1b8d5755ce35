//! The GRPO trainer: sample, score, advantages, update.
