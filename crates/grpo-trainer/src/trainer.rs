use std::sync::Arc;

use grpo_reward::{Rubric, SoftOverlong};
use grpo_rollout::SamplerKind;
use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::step::{Ahead, Observed};
use crate::{
    Alone, BoxedRollouts, Collective, InvalidOption, Metrics, Model, Optimizer, Policy, Problem, Reference,
    Text, TrainerConfig, TrainerError,
};

/// Trains a [`Policy`] on problems whose completions a rubric can score.
pub struct Trainer<P, T> {
    pub(crate) policy: P,
    pub(crate) rubric: Rubric<T>,
    pub(crate) config: TrainerConfig,
    /// The index of the reward that dynamic sampling looks at.
    pub(crate) redraw_reward: usize,
    pub(crate) progress: Progress,
    /// Samples of the next step, if they have been drawn already.
    pub(crate) ahead: Option<Ahead>,
    /// The processes that train together.
    pub(crate) collective: Arc<dyn Collective>,
}

/// The state of a run, including what it keeps from earlier steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// Steps taken, including skipped ones.
    pub(crate) step: u64,
    /// Tokens of prompts and completions seen.
    pub(crate) num_tokens: u64,
    /// Steps skipped in a row.
    pub(crate) skipped: usize,
    /// Whether the sampler's log-probabilities have been verified against the trainer's.
    pub(crate) sampler_checked: bool,
    pub(crate) health: Health,
}

/// Consecutive skipped steps after which the run ends.
const MAX_SKIPPED: usize = 10;
/// The reward that a recipe adds.
const OVERLONG: &str = "overlong";

impl<X: Text, M: Model, O: Optimizer<M>, R: Reference<M>, T: Sync> Trainer<Policy<X, M, O, R>, T> {
    /// A trainer of `policy`, whose completions are scored by `rubric` and by the recipe's length penalty.
    ///
    /// If the objective has a KL term and the policy has no reference yet, [`Reference::freeze`] makes one from the current
    /// model.
    pub fn new(
        mut policy: Policy<X, M, O, R>,
        rubric: Rubric<T>,
        config: TrainerConfig,
    ) -> Result<Self, TrainerError> {
        config.validate()?;
        if rubric.is_empty() {
            return Err(TrainerError::NoRewards);
        }
        let redraw_reward = config.outcome(&rubric)?;
        let rubric = config.punish(rubric)?;
        if config.needs_reference() {
            let reference = policy.reference.get_or_insert_with(|| R::freeze(&policy.model));
            if let (Some(_), Some(reason)) = (config.reference_sync, reference.cannot_move()) {
                return Err(InvalidOption::new("sync_ref_model", true, reason).into());
            }
        } else if policy.reference.is_some() {
            let expected = "it must be above 0: the policy has a reference, which only a KL term needs";
            return Err(InvalidOption::new("beta", config.recipe.objective.beta, expected).into());
        }
        config.check_entropies(&policy.rollouts)?;
        Ok(Self {
            policy,
            rubric,
            config,
            redraw_reward,
            progress: Progress::default(),
            ahead: None,
            collective: Arc::new(Alone),
        })
    }

    /// The trainer with other rollouts, which may be a wrapper of these.
    pub fn map_rollouts(
        mut self,
        wrap: impl FnOnce(BoxedRollouts<M>) -> BoxedRollouts<M>,
    ) -> Result<Self, InvalidOption> {
        self.policy.rollouts = wrap(self.policy.rollouts);
        self.config.check_entropies(&self.policy.rollouts)?;
        Ok(self)
    }

    /// From now on, the trainer is one of several processes: all of them have to take the same steps.
    pub fn set_collective(&mut self, collective: Arc<dyn Collective>) {
        self.collective = collective;
    }

    /// One training step: roll out, then learn.
    pub fn step(&mut self, problems: &[Problem<T>]) -> Result<Metrics, TrainerError> {
        let (experiences, _) = self.roll_out(problems)?;
        self.learn(&experiences)
    }
}

impl<P, T> Trainer<P, T> {
    /// Steps taken, including skipped ones.
    pub fn steps(&self) -> u64 {
        self.progress.step
    }

    /// The current policy.
    pub fn policy(&self) -> &P {
        &self.policy
    }

    /// The processes that train together.
    pub fn collective(&self) -> &dyn Collective {
        &*self.collective
    }

    /// The configuration.
    pub fn config(&self) -> &TrainerConfig {
        &self.config
    }

    /// The rewards.
    pub fn rubric(&self) -> &Rubric<T> {
        &self.rubric
    }
}

impl TrainerConfig {
    /// The share of tokens with the highest entropy can be chosen only if the sampler tells entropies.
    fn check_entropies<M>(&self, rollouts: &BoxedRollouts<M>) -> Result<(), InvalidOption> {
        let quantile = self.recipe.objective.top_entropy_quantile;
        let has_none = matches!(rollouts.sampler_kind(), SamplerKind::Remote { entropies: false, .. });
        if quantile >= 1.0 || !has_none {
            return Ok(());
        }
        let expected = "it must be 1: the servers do not tell the entropies of tokens";
        Err(InvalidOption::new("top_entropy_quantile", quantile, expected))
    }

    /// The index of the reward that dynamic sampling looks at: the one that is named, or the rubric's [outcome](Rubric::outcome).
    fn outcome<T>(&self, rubric: &Rubric<T>) -> Result<usize, InvalidOption> {
        let Some(name) = &self.redraw_reward else { return Ok(rubric.outcome()) };
        let expected = "there is no reward of this name: name one that completions are paid by";
        rubric
            .names()
            .position(|other| other == name)
            .ok_or_else(|| InvalidOption::new("redraw_reward", name, expected))
    }

    /// The rubric, including the reward that the recipe adds.
    fn punish<T>(&self, rubric: Rubric<T>) -> Result<Rubric<T>, InvalidOption> {
        let Some(cache) = self.recipe.soft_overlong_cache else { return Ok(rubric) };
        if rubric.names().any(|name| name == OVERLONG) {
            let expected = "the rubric already has a reward `overlong`: remove one of them";
            return Err(InvalidOption::new("soft_overlong_cache", cache, expected));
        }
        let overlong = SoftOverlong::new(self.max_completion_length, cache);
        Ok(rubric.with(OVERLONG, 1.0, overlong.expect("the cache has been checked to be below the length")))
    }
}

impl Progress {
    /// Counts a step and its tokens.
    pub(crate) fn advance(&mut self, observed: &Observed, tokens: u64) -> Result<(), TrainerError> {
        self.skipped = if observed.is_finite() { 0 } else { self.skipped.saturating_add(1) };
        if self.skipped >= MAX_SKIPPED {
            return Err(TrainerError::Diverged { skipped: self.skipped });
        }
        self.sampler_checked |= observed.compared();
        self.step += 1;
        self.num_tokens = self.num_tokens.saturating_add(tokens);
        Ok(())
    }
}
