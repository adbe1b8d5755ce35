//! What a reward sees, and what it returns.

/// How a completion ended.
///
/// Never guessed from padding or from the text: only the sampler knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Finish {
    /// The model ended it with a stop token.
    Stop,
    /// It was cut off at the length limit.
    Length,
}

/// What the model wrote for a prompt, as rewards see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The text, without the stop token. If the prompt already contains the first words of the answer (a prefilled
    /// `<reasoning>`, for example), whoever builds the completion prepends them, so that rewards see the whole answer.
    pub text: String,
    /// Number of sampled tokens, including the stop token.
    pub n_tokens: usize,
    /// How it ended.
    pub finish: Finish,
}

/// Scores one completion against the truth of its problem.
///
/// `T` is the truth: the right answer, the tests that code must pass, or anything else that the verifier compares with. A
/// reward is higher for a better completion, and must be finite. A reward cannot fail: a completion that cannot be graded is a
/// wrong completion.
///
/// # Closures are rewards
///
/// Most rewards need no type of their own:
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
///
/// let exact = |truth: &str, completion: &Completion| if completion.text == truth { 1.0 } else { 0.0 };
///
/// let completion = |text: &str| Completion { text: text.into(), n_tokens: 1, finish: Finish::Stop };
/// assert_eq!(exact.score("4", &completion("4")), 1.0);
/// assert_eq!(exact.score("4", &completion("5")), 0.0);
/// ```
///
/// # Implementing it
///
/// A reward that has settings, or that an interface names, is a type:
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
///
/// /// Pays for an integer near the truth, less with each unit of distance.
/// struct Near {
///     reward: f32,
/// }
///
/// impl Reward<i64> for Near {
///     fn score(&self, truth: &i64, completion: &Completion) -> f32 {
///         match completion.text.trim().parse::<i64>() {
///             Ok(answer) => self.reward / (1 + answer.abs_diff(*truth)) as f32,
///             Err(_) => 0.0,
///         }
///     }
/// }
///
/// let near = Near { reward: 1.0 };
/// let completion = |text: &str| Completion { text: text.into(), n_tokens: 1, finish: Finish::Stop };
/// assert_eq!(near.score(&4, &completion("4")), 1.0);
/// assert_eq!(near.score(&4, &completion("5")), 0.5);
/// assert_eq!(near.score(&4, &completion("four")), 0.0);
/// ```
pub trait Reward<T: ?Sized>: Send + Sync {
    /// The reward of `completion` for a problem whose truth is `truth`.
    fn score(&self, truth: &T, completion: &Completion) -> f32;

    /// The version of the reward, which a run records: a run that began with one version is not resumed with another. Change it
    /// whenever the reward pays for something else. With an empty version, the default, a changed reward goes unnoticed.
    fn version(&self) -> String {
        String::new()
    }
}

impl<T: ?Sized, F> Reward<T> for F
where
    F: Fn(&T, &Completion) -> f32 + Send + Sync,
{
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        self(truth, completion)
    }
}
