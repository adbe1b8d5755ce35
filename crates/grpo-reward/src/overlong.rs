//! The completion is too long.

use grpo_core::{Completion, Reward};

use crate::SettingError;
use crate::version::verifier_version;

/// Punishes length softly, as DAPO does ([arXiv 2503.14476](https://arxiv.org/abs/2503.14476), eq. 13):
/// 0 up to `max_tokens - cache`, then linearly down to −1 at `max_tokens`, and −1 beyond.
///
/// The same as TRL's `get_soft_overlong_punishment(max_completion_len, soft_punish_cache)`. Tokens are the sampled
/// ones, including the stop token. With a cache of 0, the line is a step.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::SoftOverlong;
///
/// let overlong = SoftOverlong::new(100, 20)?;
/// let score = |n_tokens| {
///     overlong.score("18", &Completion { text: "18".into(), n_tokens, finish: Finish::Stop })
/// };
/// assert_eq!(score(80), 0.0);
/// assert_eq!(score(90), -0.5);
/// assert_eq!(score(101), -1.0);
/// # Ok::<(), grpo_reward::SettingError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftOverlong {
    max_tokens: usize,
    cache: usize,
}

impl SoftOverlong {
    /// A punishment that begins `cache` tokens before `max_tokens`.
    ///
    /// # Errors
    ///
    /// If `cache` is more than `max_tokens`: then even an empty completion would be punished.
    pub fn new(max_tokens: usize, cache: usize) -> Result<Self, SettingError> {
        if cache > max_tokens {
            return Err(SettingError::Overlong { max_tokens, cache });
        }
        Ok(Self { max_tokens, cache })
    }
}

impl<T: ?Sized> Reward<T> for SoftOverlong {
    fn score(&self, _: &T, completion: &Completion) -> f32 {
        match completion.n_tokens.saturating_sub(self.max_tokens - self.cache) {
            0 => 0.0,
            over if over <= self.cache => -(over as f32 / self.cache as f32),
            _ => -1.0,
        }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
