use std::ops::ControlFlow;

use grpo_core::SamplerCorrection;

use crate::sampler::in_order;
use crate::{Decoder, Ended, Request, RolloutError, Sample, Sampler};

/// Where the completions of a model `M` in training are sampled: in this process ([`Local`]), from a copy of it, or elsewhere.
pub trait Rollouts<M> {
    /// Samples the completions of every request with `sampler` and calls `receive` with each as soon as it has ended, until it
    /// breaks.
    fn sample_each(
        &self,
        model: &M,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError>;

    /// Samples the completions of every request, in the order of the requests and of their keys.
    fn sample(
        &self,
        model: &M,
        sampler: &Sampler,
        requests: &[Request<'_>],
    ) -> Result<Vec<Vec<Sample>>, RolloutError> {
        in_order(requests, |receive| self.sample_each(model, sampler, requests, receive))
    }

    /// How the loss corrects for a sampler that is not exactly the model (TRL's
    /// `vllm_importance_sampling_correction`). `None` if the model itself samples.
    fn correction(&self) -> Option<SamplerCorrection> {
        None
    }

    /// Called after a step or a resumption that has changed the model's weights, before the next
    /// samples.
    fn follow(&mut self, _model: &M) {}
}

/// Samples from the model itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Local;

impl<D: Decoder> Rollouts<D> for Local {
    fn sample_each(
        &self,
        model: &D,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        sampler.sample_each(model, requests, receive)
    }
}
