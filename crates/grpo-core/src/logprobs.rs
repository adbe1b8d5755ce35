//! The log-probabilities of one completion.

use std::{error, fmt};

/// The log-probabilities (natural logarithm) of the sampled tokens of one completion, under up to three policies.
///
/// All slices have one element per token of the completion, including the sampled stop token.
///
/// ```
/// use grpo_core::{LogProbs, LogProbsError};
///
/// let logprobs = LogProbs::new(&[-0.9, -0.2], &[-1.0, -0.2])?.with_reference(&[-1.1, -0.2])?;
/// assert_eq!(logprobs.len(), 2);
/// assert!(LogProbs::new(&[-0.9, -0.2], &[-1.0]).is_err());
/// # Ok::<(), LogProbsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogProbs<'a> {
    pub(crate) current: &'a [f64],
    pub(crate) old: &'a [f64],
    pub(crate) reference: Option<&'a [f64]>,
    pub(crate) token_weights: Option<&'a [f64]>,
}

impl<'a> LogProbs<'a> {
    /// Log-probabilities under the policy in training (`current`) and under the policy that sampled (`old`).
    ///
    /// # Errors
    ///
    /// [`LogProbsError::LengthMismatch`] if their lengths differ.
    pub fn new(current: &'a [f64], old: &'a [f64]) -> Result<Self, LogProbsError> {
        check_length("old", current, old)?;
        Ok(Self { current, old, reference: None, token_weights: None })
    }

    /// Adds the log-probabilities under the reference, from which the KL divergence is measured.
    ///
    /// # Errors
    ///
    /// [`LogProbsError::LengthMismatch`] if the length differs from that of the others.
    pub fn with_reference(self, reference: &'a [f64]) -> Result<Self, LogProbsError> {
        check_length("reference", self.current, reference)?;
        Ok(Self { reference: Some(reference), ..self })
    }

    /// Adds the weight of each token, the factor of its surrogate loss; 1 if none are given. The KL term has no such factor,
    /// and no gradient flows through it.
    ///
    /// A 0 masks a token: all except those of high entropy, for example
    /// ([`Objective::entropy_threshold`](crate::Objective::entropy_threshold)). Another number corrects for a sampler that
    /// differs slightly from the old policy ([`SamplerCorrection`](crate::SamplerCorrection)). TRL does the same, except for
    /// VESPO, where that number is part of φ.
    ///
    /// # Errors
    ///
    /// [`LogProbsError::LengthMismatch`] if the numbers of weights and tokens differ.
    pub fn with_token_weights(self, token_weights: &'a [f64]) -> Result<Self, LogProbsError> {
        check_length("token_weights", self.current, token_weights)?;
        Ok(Self { token_weights: Some(token_weights), ..self })
    }

    /// `current − old` of each token.
    pub(crate) fn log_ratios(&self) -> impl ExactSizeIterator<Item = f64> {
        self.current.iter().zip(self.old).map(|(current, old)| current - old)
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.current.len()
    }

    /// Whether the completion has no tokens. That is valid: its loss is 0.
    pub fn is_empty(&self) -> bool {
        self.current.is_empty()
    }
}

pub(crate) fn check_length(list: &'static str, current: &[f64], other: &[f64]) -> Result<(), LogProbsError> {
    if current.len() == other.len() {
        Ok(())
    } else {
        Err(LogProbsError::LengthMismatch { list, current: current.len(), other: other.len() })
    }
}

/// Log-probabilities from which an objective cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogProbsError {
    /// Two lists have different numbers of tokens, so they cannot belong to the same completion.
    LengthMismatch {
        /// The list that differs in length from the current log-probabilities: `old`, `reference`, `token_weights` or
        /// `advantages`.
        list: &'static str,
        /// Number of tokens under the current policy.
        current: usize,
        /// Number of tokens of `list`.
        other: usize,
    },
    /// The objective has a KL term (`beta` is not zero), but the reference log-probabilities were not given.
    MissingReference,
}

impl fmt::Display for LogProbsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthMismatch { list, current, other } => write!(
                f,
                "{current} current log-probabilities but {other} in the list `{list}`: \
                 both must be of the tokens of one completion"
            ),
            Self::MissingReference => write!(
                f,
                "the objective has a KL term but got no reference log-probabilities: \
                 add them with `LogProbs::with_reference`, or set `beta` to 0"
            ),
        }
    }
}

impl error::Error for LogProbsError {}
