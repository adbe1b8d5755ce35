//! A training step: from problems to experiences (`roll_out`), and from those to new weights (`learn`).

mod ahead;
mod experience;
mod learn;
mod micro_batches;
mod observed;
mod roll_out;
mod sample;
mod shares;
mod targets;

pub(crate) use ahead::Ahead;
pub use experience::{Experience, Experiences, Group, Problem, RolloutTokens, Scored};
pub(crate) use micro_batches::micro_batches;
pub(crate) use observed::Observed;
pub(crate) use targets::TOLERANCE;
