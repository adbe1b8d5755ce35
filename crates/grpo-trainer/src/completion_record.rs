use std::collections::BTreeMap;

use grpo_core::Finish;
use grpo_reward::{Rubric, Scores};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{Answer, Evaluation, Experience, Experiences, TokenRecord};

/// A recorded completion, with everything needed to understand it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompletionRecord {
    /// The step in which it was sampled; for an evaluation, the number of steps taken before.
    pub step: u64,
    /// The problem's id.
    pub problem: u64,
    /// Its index in the group.
    pub sample: usize,
    /// The problem as text.
    #[serde(flatten)]
    pub text: ProblemText,
    /// The completion as the rewards saw it.
    pub completion: String,
    /// Number of sampled tokens, including the stop token.
    pub tokens: usize,
    /// How it ended.
    pub finish: Finish,
    /// The weighted sum of the rewards; NaN, in JSON null, if all abstain.
    #[serde(deserialize_with = "number")]
    pub reward: f32,
    /// Each reward, before its gate and weight; NaN, in JSON null, if it abstains.
    #[serde(deserialize_with = "numbers")]
    pub rewards: BTreeMap<String, f32>,
    /// Its advantage; none in an evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advantage: Option<f32>,
    /// Its tokens, if they are recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_record: Option<TokenRecord>,
}

/// A problem in readable form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProblemText {
    /// The question.
    pub question: String,
    /// What rewards compare with.
    pub truth: Value,
    /// The full prompt, as the model sees it.
    pub prompt: String,
}

impl CompletionRecord {
    /// The completions of a step, scored by `rubric`; `text` maps problem ids to texts.
    pub fn of_step<T: ?Sized>(
        step: u64,
        experiences: &Experiences,
        rubric: &Rubric<T>,
        text: impl Fn(u64) -> ProblemText,
    ) -> Vec<Self> {
        let mut records = Vec::new();
        for group in &experiences.groups {
            let text = text(group.problem);
            for (sample, Experience { scored, advantage, .. }) in group.completions.iter().enumerate() {
                records.push(Self {
                    step,
                    problem: group.problem,
                    sample,
                    text: text.clone(),
                    completion: scored.completion.text.clone(),
                    tokens: scored.completion.n_tokens,
                    finish: scored.completion.finish,
                    reward: scored.scores.total,
                    rewards: by_name(rubric, &scored.scores),
                    advantage: Some(*advantage),
                    token_record: None,
                });
            }
        }
        records
    }

    /// The completions of an evaluation after this many steps, scored by `rubric`.
    pub fn of_evaluation<T: ?Sized>(
        step: u64,
        evaluation: &Evaluation,
        rubric: &Rubric<T>,
        text: impl Fn(u64) -> ProblemText,
    ) -> Vec<Self> {
        let record = |Answer { problem, sample, completion, scores }: &Answer| Self {
            step,
            problem: *problem,
            sample: *sample,
            text: text(*problem),
            completion: completion.text.clone(),
            tokens: completion.n_tokens,
            finish: completion.finish,
            reward: scores.total,
            rewards: by_name(rubric, scores),
            advantage: None,
            token_record: None,
        };
        evaluation.answers.iter().map(record).collect()
    }
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f32::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f32>, D::Error> {
    let numbers = BTreeMap::<String, Option<f32>>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|(name, number)| (name, number.unwrap_or(f32::NAN))).collect())
}

fn by_name<T: ?Sized>(rubric: &Rubric<T>, scores: &Scores) -> BTreeMap<String, f32> {
    rubric.names().map(str::to_string).zip(scores.each.iter().copied()).collect()
}
