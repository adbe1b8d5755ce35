use std::ops::ControlFlow;

use grpo_core::SamplerCorrection;
use grpo_qwen2::Qwen2;
use grpo_rollout::{Ended, Request, RolloutError, Rollouts, Sampler, SamplerKind};

use crate::{BoxedRollouts, RolloutDtype, TrainedQwen2};

/// The model that completions are sampled from, by its dtype.
pub(super) fn of(model: &Qwen2, dtype: RolloutDtype) -> BoxedRollouts<TrainedQwen2> {
    match dtype {
        RolloutDtype::F32 => Box::new(Own),
        RolloutDtype::Bf16(correction) => Box::new(Rounded::new(model, Qwen2::to_bf16, correction)),
        RolloutDtype::F16(correction) => Box::new(Rounded::new(model, Qwen2::to_f16, correction)),
    }
}

/// The model in training itself.
struct Own;

/// A copy of it in half precision.
struct Rounded {
    round: fn(&Qwen2) -> Qwen2,
    /// None only while it is being replaced.
    copy: Option<Qwen2>,
    correction: SamplerCorrection,
}

impl Rounded {
    fn new(model: &Qwen2, round: fn(&Qwen2) -> Qwen2, correction: SamplerCorrection) -> Self {
        Self { round, copy: Some(round(model)), correction }
    }
}

impl Rollouts<TrainedQwen2> for Own {
    fn sample_each(
        &self,
        model: &TrainedQwen2,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        sampler.sample_each(model.get(), requests, receive)
    }
}

impl Rollouts<TrainedQwen2> for Rounded {
    fn sample_each(
        &self,
        _: &TrainedQwen2,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        let copy = self.copy.as_ref().expect("the copy is only away while it is replaced");
        sampler.sample_each(copy, requests, receive)
    }

    fn sampler_kind(&self) -> SamplerKind {
        SamplerKind::Narrow(self.correction)
    }

    fn follow(&mut self, model: &TrainedQwen2, _: u64) {
        // Frees the old copy before the new one is made.
        self.copy = None;
        self.copy = Some((self.round)(model.get()));
    }
}
