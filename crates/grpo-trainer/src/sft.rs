//! Supervised fine-tuning: raises the probability of given completions. A cold start for reinforcement learning.

use grpo_rollout::{PromptCompletions, TokenGradients};
use serde::{Deserialize, Serialize};

use crate::step::micro_batches;
use crate::{InvalidOption, Model, Optimizer, Order, Policy, Schedule, TrainerError};

/// Far more than are useful.
const MAX_EPOCHS: u64 = 1 << 16;

/// A prompt, and a completion to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demonstration {
    /// The prompt as token ids.
    pub prompt: Vec<u32>,
    /// The completion, with its stop token.
    pub completion: Vec<u32>,
}

/// The numbers of supervised fine-tuning; the names of TRL's `SFTConfig` are given where they differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftConfig {
    /// Passes over the demonstrations (TRL: `num_train_epochs`).
    pub epochs: u64,
    /// Demonstrations per update (TRL: `per_device_train_batch_size` × `gradient_accumulation_steps`).
    pub batch_size: usize,
    /// The learning rate of the first update; it falls linearly to 0.
    pub learning_rate: f64,
    /// Maximum global gradient norm; larger gradients are clipped to it.
    pub max_grad_norm: f64,
    /// Maximum tokens per forward and backward pass. Bounds memory; affects results only through rounding.
    pub micro_batch_tokens: usize,
    /// Seed of the order of demonstrations.
    pub seed: u64,
}

/// An update of supervised fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SftUpdate {
    /// Its number, from 1.
    pub update: u64,
    /// Mean over the tokens of the completions of −log p(token), before the update.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Tokens of the completions.
    pub tokens: usize,
}

/// Supervised fine-tuning of a policy, update by update.
pub struct Sft<'a> {
    demonstrations: &'a [Demonstration],
    config: &'a SftConfig,
    order: Order,
    done: u64,
}

impl Default for SftConfig {
    /// TRL's numbers, with the learning rate that it recommends for adapters.
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 8,
            learning_rate: 1e-4,
            max_grad_norm: 1.0,
            micro_batch_tokens: 4096,
            seed: 0,
        }
    }
}

impl SftConfig {
    /// Checks that every number is in its range.
    pub fn validate(&self) -> Result<(), InvalidOption> {
        if self.epochs > MAX_EPOCHS {
            return Err(InvalidOption::new("epochs", self.epochs, "it must be at most 65536"));
        }
        for (option, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size as u64),
            ("micro_batch_tokens", self.micro_batch_tokens as u64),
        ] {
            if value == 0 {
                return Err(InvalidOption::new(option, 0, "it must be at least 1"));
            }
        }
        InvalidOption::check_positive("learning_rate", self.learning_rate)?;
        InvalidOption::check_positive("max_grad_norm", self.max_grad_norm)
    }
}

impl<'a> Sft<'a> {
    /// Fine-tuning on some demonstrations, at least one.
    pub fn new(demonstrations: &'a [Demonstration], config: &'a SftConfig) -> Result<Self, TrainerError> {
        config.validate()?;
        if demonstrations.is_empty() {
            return Err(TrainerError::NoProblems);
        }
        Ok(Self { demonstrations, config, order: Order::new(demonstrations.len(), config.seed), done: 0 })
    }

    /// All updates.
    pub fn updates(&self) -> u64 {
        self.uses().div_ceil(self.config.batch_size as u64)
    }

    /// Updates so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// How often a demonstration is used, over all of them.
    fn uses(&self) -> u64 {
        self.demonstrations.len() as u64 * self.config.epochs
    }

    /// The next update of `policy`; none after the last. A loss or gradient that is not finite changes no weight and is an error.
    pub fn update<X, M: Model, O: Optimizer<M>, R>(
        &mut self,
        policy: &mut Policy<X, M, O, R>,
    ) -> Result<Option<SftUpdate>, TrainerError> {
        let SftConfig { batch_size, learning_rate, max_grad_norm, micro_batch_tokens, .. } = *self.config;
        if self.done == self.updates() {
            return Ok(None);
        }
        let first = self.done * batch_size as u64;
        let last = (first + batch_size as u64).min(self.uses());
        let batch: Vec<PromptCompletions<'a>> = (first..last)
            .map(|position| {
                let Demonstration { prompt, completion } = &self.demonstrations[self.order.problem(position)];
                PromptCompletions { prompt, completions: vec![completion.as_slice()] }
            })
            .collect();
        let tokens: usize = batch.iter().map(|prompt| prompt.completions[0].len()).sum();
        let (mut loss, mut gradients) = (0.0, M::Gradients::default());
        for micro_batch in micro_batches(&batch, micro_batch_tokens) {
            let (found, pass) = policy.model.forward(&micro_batch, 1.0);
            TrainerError::check_count("completions with log-probabilities", found.len(), micro_batch.len())?;
            loss -= found.iter().flat_map(|of| &of.logprobs).copied().map(f64::from).sum::<f64>();
            let slope = -1.0 / tokens as f32;
            let slopes = found.iter().map(|of| TokenGradients::of_logprobs(vec![slope; of.logprobs.len()]));
            policy.model.backward(pass, &slopes.collect::<Vec<_>>(), &mut gradients);
        }
        let loss = loss / tokens as f64;
        let schedule = Schedule::Linear { steps: self.updates() };
        let learning_rate = learning_rate * schedule.factor(self.done, 0);
        let update = self.done + 1;
        let grad_norm = if loss.is_finite() {
            policy.optimizer.update(&mut policy.model, gradients, learning_rate, max_grad_norm)
        } else {
            f64::NAN
        };
        if !grad_norm.is_finite() {
            return Err(TrainerError::NotFinite { update });
        }
        self.done = update;
        Ok(Some(SftUpdate { update, loss, grad_norm, learning_rate, tokens }))
    }
}
