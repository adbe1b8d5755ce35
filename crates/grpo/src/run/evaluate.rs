//! Held-out problems, before, during and after training.

use std::ops::ControlFlow;

use grpo_files::sha256_of;
use grpo_reward::Rubric;
use grpo_trainer::{
    CompletionRecord, Evaluation, EvaluationOptions, Problem, ProblemText, Proportion, Qwen2Policy, Trainer,
};
use serde::{Deserialize, Serialize};

use super::order::problems;
use super::together::Instruction;
use super::{Event, Interrupt, Phase};
use crate::{Error, Question, Test, Truth};

/// The results on the held-out problems of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluated {
    /// The test's name.
    pub test: String,
    /// Steps taken before the evaluation.
    pub step: u64,
    /// Mean of the weighted sum of rewards.
    pub reward: f64,
    /// For each reward, the share of completions that earned more than 0.
    pub rewarded: Vec<Rewarded>,
    /// Every completion.
    pub completions: Vec<CompletionRecord>,
}

impl Evaluated {
    /// The share of completions that earned more than 0 from the reward `name`.
    pub fn share(&self, name: &str) -> Option<Proportion> {
        self.rewarded.iter().find(|reward| reward.name == name).map(|reward| reward.share)
    }
}

/// The share of completions that earned more than 0 from a reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewarded {
    /// The reward's name.
    pub name: String,
    /// The share.
    pub share: Proportion,
}

/// The results of a test before and after training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// Before training.
    pub before: Evaluated,
    /// After training.
    pub after: Evaluated,
}

/// Answers the tests greedily; with `subset`, only that many problems of each. None if interrupted.
#[tracing::instrument(skip_all)]
pub(super) fn evaluate<T: Truth>(
    trainer: &Trainer<Qwen2Policy, T>,
    tests: &[Test<T>],
    subset: Option<usize>,
    interrupt: &Interrupt,
    tell: &mut dyn FnMut(Event<'_, T>),
) -> Result<Option<Vec<Evaluated>>, Error> {
    if !tests.is_empty() {
        tell(Event::Phase(Phase::Evaluating));
    }
    let mut all = Vec::new();
    for (i, test) in tests.iter().enumerate() {
        if interrupt.is_requested() {
            return Ok(None);
        }
        let problems = test_problems(trainer, test, subset)?;
        Instruction::Answer { test: i, subset }.give(trainer.collective())?;
        let mut answers = Vec::new();
        let evaluated = trainer.evaluate_each(&problems, &EvaluationOptions::greedy(), |answer| {
            answers.push(answer);
            tell(Event::Answered { test: &test.name, done: answers.len(), of: problems.len() });
            if interrupt.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        evaluated.map_err(|cause| Error::Evaluation { test: test.name.clone(), cause })?;
        if answers.len() < problems.len() {
            return Ok(None);
        }
        answers.sort_unstable_by_key(|answer| answer.problem);
        let evaluation = Evaluation::of(trainer.rubric().names(), answers);
        all.push(record(trainer, test, &evaluation));
    }
    Ok(Some(all))
}

/// The problems of a test, or a subset of them.
pub(super) fn test_problems<T: Truth>(
    trainer: &Trainer<Qwen2Policy, T>,
    test: &Test<T>,
    subset: Option<usize>,
) -> Result<Vec<Problem<T>>, Error> {
    let chosen = chosen(&test.questions, subset).into_iter();
    problems(chosen.map(|i| (i, &test.questions[i])), trainer.policy())
}

/// The indices of a subset of questions, in order: those whose hashes are lowest, so that it does not depend on the order or number of
/// the others.
fn chosen<T: Truth>(questions: &[Question<T>], subset: Option<usize>) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..questions.len()).collect();
    if let Some(n) = subset.filter(|n| *n < questions.len()) {
        chosen.sort_by_cached_key(|i| sha256_of(questions[*i].text().as_bytes()));
        chosen.truncate(n);
        chosen.sort_unstable();
    }
    chosen
}

fn record<T: Truth>(trainer: &Trainer<Qwen2Policy, T>, test: &Test<T>, evaluation: &Evaluation) -> Evaluated {
    let rubric: &Rubric<T> = trainer.rubric();
    let text = |problem: u64| problem_text(&test.questions[problem as usize], trainer.policy());
    let rewarded = |(name, share): &(String, Proportion)| Rewarded { name: name.clone(), share: *share };
    Evaluated {
        test: test.name.clone(),
        step: trainer.steps(),
        reward: evaluation.reward,
        rewarded: evaluation.rewarded.iter().map(rewarded).collect(),
        completions: CompletionRecord::of_evaluation(trainer.steps(), evaluation, rubric, text),
    }
}

/// What the record says about a problem.
pub(super) fn problem_text<T: Truth>(question: &Question<T>, policy: &Qwen2Policy) -> ProblemText {
    ProblemText {
        question: question.text().to_string(),
        truth: question.recorded_truth(),
        // It has been rendered as a prompt before.
        prompt: policy.text.template.render(&question.messages, true).unwrap_or_default(),
    }
}
