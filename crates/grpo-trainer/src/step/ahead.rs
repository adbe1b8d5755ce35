//! Samples for the next step, drawn while this one learns.

use std::time::Duration;

use grpo_core::SamplerCorrection;
use grpo_rollout::{Sample, SamplerKind};
use serde::{Deserialize, Serialize};

use crate::Problem;

/// The samples of a step that were drawn before the step began, by the policy before the latest update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ahead {
    /// The ids of its problems.
    problems: Vec<u64>,
    /// A group for each.
    pub(crate) samples: Vec<Vec<Sample>>,
    /// How long it took to sample them; unknown after a resumption, because a checkpoint depends on no time.
    #[serde(skip)]
    pub(crate) generate: Duration,
}

impl Ahead {
    pub(crate) fn new<T>(problems: &[Problem<T>], samples: Vec<Vec<Sample>>, generate: Duration) -> Self {
        Self { problems: problems.iter().map(|problem| problem.id).collect(), samples, generate }
    }

    /// Whether these are the samples of these problems.
    pub(crate) fn is_of<T>(&self, problems: &[Problem<T>]) -> bool {
        self.problems.iter().copied().eq(problems.iter().map(|problem| problem.id))
    }
}

/// How the loss corrects for samples of a policy that was `lag` steps behind: as for the sampler itself, or in TRL's default way.
pub(crate) fn correction(kind: SamplerKind, lag: u64) -> Option<SamplerCorrection> {
    kind.correction().or_else(|| (lag > 0).then(SamplerCorrection::default))
}
