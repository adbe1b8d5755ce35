use std::ops::ControlFlow;

use grpo_core::SamplerCorrection;

use crate::sampler::in_order;
use crate::{Decoder, Ended, Request, RolloutError, Sample, Sampler};

/// What samples completions, as far as the loss has to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SamplerKind {
    /// The model itself.
    Own,
    /// A copy of it in half precision, for which the loss corrects.
    Narrow(SamplerCorrection),
    /// Another process, which may be wrong at any step.
    Remote {
        /// How the loss corrects for a model that is not exactly the one that is trained; none if it should be the same.
        correction: Option<SamplerCorrection>,
        /// Whether samples have entropies; if not, theirs are empty.
        entropies: bool,
    },
}

impl SamplerKind {
    /// How the loss corrects for a sampler that is not exactly the model (TRL's `vllm_importance_sampling_correction`); none if the
    /// sampler's log-probabilities must be those of the model.
    pub fn correction(self) -> Option<SamplerCorrection> {
        match self {
            Self::Own => None,
            Self::Narrow(correction) => Some(correction),
            Self::Remote { correction, .. } => correction,
        }
    }
}

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

    /// What samples, as far as the loss has to know.
    fn sampler_kind(&self) -> SamplerKind {
        SamplerKind::Own
    }

    /// Called if the samples since the last step were refused because they are not the model's: they must not be given again.
    fn refuse(&self) {}

    /// Called after every step and after a resumption, before the next samples, with the number of steps that the model has taken.
    fn follow(&mut self, _model: &M, _version: u64) {}
}

impl<M, R: Rollouts<M> + ?Sized> Rollouts<M> for Box<R> {
    fn sample_each(
        &self,
        model: &M,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        (**self).sample_each(model, sampler, requests, receive)
    }

    fn sampler_kind(&self) -> SamplerKind {
        (**self).sampler_kind()
    }

    fn refuse(&self) {
        (**self).refuse();
    }

    fn follow(&mut self, model: &M, version: u64) {
        (**self).follow(model, version);
    }
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
