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

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of the given role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// What completions answer, and what is true of their answers.
#[derive(Debug)]
pub struct Asked<'a, T: ?Sized> {
    /// The conversation up to the answer.
    pub messages: &'a [Message],
    /// What the answer is compared with.
    pub truth: &'a T,
}

impl<T: ?Sized> Asked<'_, T> {
    /// The last message: the question.
    pub fn question(&self) -> &str {
        self.messages.last().map_or("", |message| &message.content)
    }
}

/// Scores one completion against the truth of its problem. What needs more (the question, the other completions of the group, to
/// abstain, to fail) is a [`GroupReward`].
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

/// Scores the completions of a problem together. It sees the question, may abstain, and may fail.
///
/// ```
/// use grpo_core::{Asked, Completion, Finish, GroupReward};
///
/// /// Pays for what no other completion of the group says; abstains on completions that were cut off.
/// struct Novelty;
///
/// impl GroupReward<str> for Novelty {
///     fn score_group(&self, _: &Asked<'_, str>, completions: &[Completion]) -> Result<Vec<Option<f32>>, String> {
///         let times = |text: &str| completions.iter().filter(|other| other.text == text).count();
///         let score = |completion: &Completion| match completion.finish {
///             Finish::Stop => Some(if times(&completion.text) == 1 { 1.0 } else { 0.0 }),
///             Finish::Length => None,
///         };
///         Ok(completions.iter().map(score).collect())
///     }
/// }
///
/// let completion = |text: &str, finish| Completion { text: text.into(), n_tokens: 1, finish };
/// let group = ["a", "b", "a"].map(|text| completion(text, Finish::Stop));
/// let asked = Asked { messages: &[], truth: "" };
/// assert_eq!(Novelty.score_group(&asked, &group), Ok(vec![Some(0.0), Some(1.0), Some(0.0)]));
/// assert_eq!(Novelty.score_group(&asked, &[completion("a", Finish::Length)]), Ok(vec![None]));
/// ```
pub trait GroupReward<T: ?Sized>: Send + Sync {
    /// The reward of each completion, in their order. Where it is none, the reward abstains: it is left out of the completion's
    /// total and of all statistics, as TRL leaves out what is `None`.
    ///
    /// # Errors
    ///
    /// If the completions cannot be scored at all: the step then ends with this message. A completion that cannot be graded is a wrong
    /// completion, and no error.
    fn score_group(
        &self,
        asked: &Asked<'_, T>,
        completions: &[Completion],
    ) -> Result<Vec<Option<f32>>, String>;

    /// As [`Reward::version`].
    fn version(&self) -> String {
        String::new()
    }

    /// Whether it can score completions of a problem with this truth. A run asks for every problem before it starts.
    ///
    /// # Errors
    ///
    /// What is wrong with the truth.
    fn check(&self, truth: &T) -> Result<(), String> {
        let _ = truth;
        Ok(())
    }

    /// Whether it limits its own time, so that nobody else has to.
    fn has_own_time_limit(&self) -> bool {
        false
    }
}
