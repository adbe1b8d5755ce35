//! The answer follows instructions about its form.

use grpo_core::{Completion, Reward};

use crate::version::verifier_version;
use crate::{Instruction, extract_answer};

/// Pays for the instructions that [`extract_answer`] follows. Truths are lists of [`Instruction`]s.
///
/// An answer without any letter or digit follows none: otherwise it would be the easiest way to avoid
/// commas and forbidden words. An empty list pays nothing.
///
/// ```
/// use grpo_core::{Completion, Finish, Reward};
/// use grpo_reward::{Instruction, Instructions, Quantifier};
///
/// let truth = [Instruction::NoCommas, Instruction::Words(Quantifier::AtMost(4))];
/// let score = |instructions: Instructions, text: &str| {
///     instructions.score(&truth, &Completion { text: text.into(), n_tokens: 9, finish: Finish::Stop })
/// };
/// let (share, strict) = (Instructions::default(), Instructions { strict: true, ..Default::default() });
/// assert_eq!(score(share, "Half of 36"), 1.0);
/// assert_eq!(score(share, "It is half of 36"), 0.5);
/// assert_eq!(score(strict, "Half of 36"), 1.0);
/// assert_eq!(score(strict, "It is half of 36"), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instructions {
    /// Whether all instructions must be followed to earn anything. Otherwise each earns its share.
    pub strict: bool,
    /// What following all of them earns.
    pub reward: f32,
}

impl Default for Instructions {
    fn default() -> Self {
        Self { strict: false, reward: 1.0 }
    }
}

impl<T: AsRef<[Instruction]> + ?Sized> Reward<T> for Instructions {
    fn score(&self, truth: &T, completion: &Completion) -> f32 {
        let instructions = truth.as_ref();
        let answer = extract_answer(&completion.text);
        let followed = instructions.iter().filter(|instruction| instruction.is_followed_by(answer)).count();
        match followed {
            0 => 0.0,
            _ if self.strict && followed < instructions.len() => 0.0,
            _ => self.reward * followed as f32 / instructions.len() as f32,
        }
    }

    fn version(&self) -> String {
        verifier_version(self)
    }
}
