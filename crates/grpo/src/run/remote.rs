//! Completions that are sampled on servers.

use std::ops::ControlFlow;
use std::path::Path;

use grpo_core::SamplerCorrection;
use grpo_fleet::{Fleet, FleetError, Journal, Kind};
use grpo_rollout::{Ended, RemoteError, Request, RolloutError, Rollouts, Sampler, SamplerKind};
use grpo_trainer::{Qwen2Policy, TrainedQwen2, Trainer};

use crate::{Error, RunConfig};

/// The folder of a run with the samples of servers.
const JOURNAL: &str = "journal";

/// Servers, and the policy that they are to have.
struct Remote {
    fleet: Fleet,
    /// Steps that the policy has taken.
    version: u64,
    correction: Option<SamplerCorrection>,
}

/// No servers: everything that is sampled has to be in the journal.
struct Disconnected(Option<SamplerCorrection>);

/// A step that was not sampled with this journal.
#[derive(Debug, thiserror::Error)]
#[error(
    "the journal has no samples of this step, and they cannot be sampled again as they were: the servers' are not repeatable"
)]
struct NotKept;

/// The policy, sampled on the servers of the configuration if there are any.
pub(super) fn connect(config: &RunConfig, policy: Qwen2Policy) -> Result<Qwen2Policy, Error> {
    let rollouts = &config.execution.rollouts;
    if rollouts.servers.is_empty() {
        return Ok(policy);
    }
    let temporary = std::env::temp_dir().join("grpo-policies");
    let fleet = Fleet::connect(rollouts, rollouts.folder.as_deref().unwrap_or(&temporary))?;
    let (algorithm, vocabulary) = (&config.algorithm, policy.model().config().vocab_size);
    // At least: a prompt has a token.
    fleet.check(&algorithm.sampling, algorithm.max_completion_length + 1, vocabulary)?;
    let remote = Remote { fleet, version: 0, correction: config.policy.rollout_dtype.correction() };
    Ok(Qwen2Policy { rollouts: Box::new(remote), ..policy })
}

/// The policy without the servers of the configuration.
pub(super) fn disconnected(config: &RunConfig, policy: Qwen2Policy) -> Result<Qwen2Policy, Error> {
    if config.execution.rollouts.servers.is_empty() {
        return Ok(policy);
    }
    let disconnected = Disconnected(config.policy.rollout_dtype.correction());
    Ok(Qwen2Policy { rollouts: Box::new(disconnected), ..policy })
}

/// A trainer whose samples are kept in the folder of its run, if they are those of servers.
pub(super) fn keep_journal<T: Sync>(
    config: &RunConfig,
    folder: &Path,
    trainer: Trainer<Qwen2Policy, T>,
) -> Result<Trainer<Qwen2Policy, T>, Error> {
    if config.execution.rollouts.servers.is_empty() {
        return Ok(trainer);
    }
    Ok(trainer.map_rollouts(|rollouts| Box::new(Journal::new(rollouts, folder.join(JOURNAL))))?)
}

impl Remote {
    fn publish(&self, model: &TrainedQwen2) -> Result<(), FleetError> {
        let kind = if model.get().has_lora() { Kind::Adapter } else { Kind::Weights };
        self.fleet.publish(self.version, kind, &|folder| Ok(model.save(folder)?))
    }
}

impl Rollouts<TrainedQwen2> for Remote {
    fn sample_each(
        &self,
        model: &TrainedQwen2,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        let sampled = self.publish(model).and_then(|()| self.fleet.sample_each(sampler, requests, receive));
        Ok(sampled.map_err(RemoteError::new)?)
    }

    fn sampler_kind(&self) -> SamplerKind {
        SamplerKind::Remote { correction: self.correction, entropies: self.fleet.tells_entropies() }
    }

    fn follow(&mut self, _: &TrainedQwen2, version: u64) {
        self.version = version;
    }
}

impl Rollouts<TrainedQwen2> for Disconnected {
    fn sample_each(
        &self,
        _: &TrainedQwen2,
        _: &Sampler,
        _: &[Request<'_>],
        _: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        Err(RemoteError::new(NotKept).into())
    }

    /// The journal may have entropies.
    fn sampler_kind(&self) -> SamplerKind {
        SamplerKind::Remote { correction: self.0, entropies: true }
    }
}
