//! Completions that are sampled on servers.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use grpo_core::SamplerCorrection;
use grpo_fleet::{Fleet, FleetError, Journal, PolicyKind};
use grpo_rollout::{Ended, RemoteError, Request, RolloutError, Rollouts, Sampler, SamplerKind};
use grpo_trainer::{Qwen2Policy, TrainedQwen2, Trainer};

use crate::{Error, RunConfig};

/// The folder of a run with the samples of servers.
const JOURNAL: &str = "journal";

/// A policy, and the servers on which it is sampled.
pub(super) struct Connected {
    pub(super) policy: Qwen2Policy,
    pub(super) fleet: Option<Arc<Fleet>>,
}

/// Servers, and the policy that they are to have.
struct Remote {
    fleet: Arc<Fleet>,
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
pub(super) fn connect(config: &RunConfig, policy: Qwen2Policy) -> Result<Connected, Error> {
    let rollouts = &config.execution.rollouts;
    if rollouts.servers.is_empty() {
        return Ok(Connected { policy, fleet: None });
    }
    let temporary = std::env::temp_dir().join(format!("grpo-policies-{}", std::process::id()));
    let folder = std::path::absolute(rollouts.folder.as_ref().unwrap_or(&temporary));
    let folder = folder.map_err(Error::io(&temporary))?;
    let fleet = Arc::new(Fleet::connect(rollouts, &folder)?);
    let correction = config.policy.rollout_dtype.correction();
    let remote = Remote { fleet: fleet.clone(), version: 0, correction };
    Ok(Connected { policy: Qwen2Policy { rollouts: Box::new(remote), ..policy }, fleet: Some(fleet) })
}

/// Checks that the servers can sample what a run asks for, whose longest prompt has this many tokens.
pub(super) fn check(
    fleet: Option<&Arc<Fleet>>,
    config: &RunConfig,
    policy: &Qwen2Policy,
    longest_prompt: usize,
) -> Result<(), Error> {
    let (Some(fleet), algorithm) = (fleet, &config.algorithm) else { return Ok(()) };
    let positions = longest_prompt + algorithm.max_completion_length;
    let (model, vocabulary) = (policy.model(), policy.model().config().vocab_size);
    let corrects = config.policy.rollout_dtype.correction().is_some() || algorithm.lag > 0;
    if corrects && model.config().tie_word_embeddings && !model.has_lora() {
        fleet.check_tied_head()?;
    }
    Ok(fleet.check(&algorithm.sampling, algorithm.group_size, positions, vocabulary)?)
}

/// The policy without the servers of the configuration.
pub(super) fn disconnected(config: &RunConfig, policy: Qwen2Policy) -> Result<Connected, Error> {
    if config.execution.rollouts.servers.is_empty() {
        return Ok(Connected { policy, fleet: None });
    }
    let disconnected = Disconnected(config.policy.rollout_dtype.correction());
    Ok(Connected { policy: Qwen2Policy { rollouts: Box::new(disconnected), ..policy }, fleet: None })
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

/// Removes the samples of an earlier run from a folder: they are of another policy.
pub(super) fn remove_journal(folder: &Path) -> Result<(), Error> {
    let journal = folder.join(JOURNAL);
    if journal.exists() {
        std::fs::remove_dir_all(&journal).map_err(Error::io(&journal))?;
    }
    Ok(())
}

impl Remote {
    fn publish(&self, model: &TrainedQwen2) -> Result<(), FleetError> {
        let kind = if model.get().has_lora() { PolicyKind::Adapter } else { PolicyKind::Weights };
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
