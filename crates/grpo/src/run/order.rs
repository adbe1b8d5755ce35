//! Which problems a step uses.

use grpo_trainer::{Experiences, Metrics, Order, Problem, Qwen2Policy, RolloutTimes, Trainer};

use super::RunFolder;
use super::curriculum::PassRates;
use super::folder::Skipped;
use crate::{Error, Question, RunConfig, Task, Truth};

/// The problems of a run, in the order in which its steps use them: for a custom training loop.
pub struct Problems<'a, T> {
    questions: &'a [Question<T>],
    skipped: &'a [Skipped],
    rates: PassRates,
    order: Order,
    /// Replacements for problems that are skipped, or whose completions all have the same outcome.
    spare: Order,
    per_step: usize,
}

impl<'a, T: Truth> Problems<'a, T> {
    /// The order for a run with this configuration.
    pub fn new(task: &'a Task<T>, config: &RunConfig) -> Self {
        let (n, seed) = (task.train.len(), config.algorithm.seed);
        let (order, spare) = (Order::new(n, seed), Order::new(n, !seed));
        let rates = PassRates::new(config.task.curriculum.clone(), seed);
        Self {
            questions: &task.train,
            skipped: &[],
            rates,
            order,
            spare,
            per_step: config.task.problems_per_step,
        }
    }

    /// The same after a run's first `steps` steps.
    pub(super) fn after(mut self, folder: &RunFolder, steps: u64) -> Result<Self, Error> {
        self.rates.read(folder, steps)?;
        Ok(self)
    }

    /// The same, but skips some problems.
    pub(super) fn skipping(self, skipped: &'a [Skipped]) -> Self {
        Self { skipped, ..self }
    }

    /// The next step's problems, answered; problems whose completions all have the same outcome are replaced.
    pub fn roll_out(
        &mut self,
        trainer: &Trainer<Qwen2Policy, T>,
    ) -> Result<(Experiences, RolloutTimes), Error> {
        let step = trainer.steps();
        let mut met = self.passed_over(step);
        let batch = self.batch(step, &mut met);
        let first = step * (self.per_step * trainer.config().recipe.max_redraws) as u64;
        let questions = self.questions;
        let prompts =
            |indices: &[usize]| problems(indices.iter().map(|i| (*i, &questions[*i])), trainer.policy());
        let (experiences, times) = trainer
            .roll_out_dynamic(&prompts(&batch)?, |n| prompts(&self.others(step, first, n, &mut met)))?;
        self.rates.add(&experiences.pass_rates);
        Ok((experiences, times))
    }

    /// Learns from the result of a rollout; with `ahead`, the completions of the next step are sampled meanwhile.
    pub fn learn(
        &mut self,
        trainer: &mut Trainer<Qwen2Policy, T>,
        experiences: &Experiences,
        ahead: bool,
    ) -> Result<Metrics, Error> {
        if !ahead {
            return Ok(trainer.learn(experiences)?);
        }
        let next = self.of_step(trainer.steps() + 1, trainer.policy())?;
        Ok(trainer.learn_and_sample(experiences, &next)?)
    }

    /// All problems.
    pub(super) fn len(&self) -> usize {
        self.questions.len()
    }

    /// The problems of a future step, answered by the current policy.
    pub(super) fn preview(
        &mut self,
        trainer: &Trainer<Qwen2Policy, T>,
        step: u64,
    ) -> Result<(Experiences, RolloutTimes), Error> {
        trainer.roll_out_dynamic(&self.of_step(step, trainer.policy())?, |_| Ok(Vec::new()))
    }

    /// The problems of the step that follows `step` others, in the form that the trainer takes.
    fn of_step(&mut self, step: u64, policy: &Qwen2Policy) -> Result<Vec<Problem<T>>, Error> {
        let batch = self.batch(step, &mut self.passed_over(step));
        problems(batch.into_iter().map(|i| (i, &self.questions[i])), policy)
    }

    /// The problems of the step that follows `step` others. Skipped problems are replaced.
    fn batch(&mut self, step: u64, met: &mut Vec<usize>) -> Vec<usize> {
        let mut batch = self.order.batch(step, self.per_step);
        batch.retain(|problem| !met.contains(problem) && self.rates.is_due(*problem, step));
        met.extend(&batch);
        let (first, missing) = (step * self.per_step as u64, self.per_step - batch.len());
        batch.extend(self.others(step, first, missing, met));
        batch
    }

    /// The next `n` spare problems that have not been met, from a position on: those that the curriculum wants, and then any.
    fn others(&mut self, step: u64, first: u64, n: usize, met: &mut Vec<usize>) -> Vec<usize> {
        let Self { spare, rates, questions, .. } = self;
        let mut others = Vec::new();
        for only_due in [true, false] {
            let wanted = |problem: usize| !only_due || rates.is_due(problem, step);
            let found = unmet(spare, first, n - others.len(), questions.len(), met, wanted);
            met.extend(&found);
            others.extend(found);
        }
        others
    }

    fn passed_over(&self, step: u64) -> Vec<usize> {
        let skipped = self.skipped.iter().filter(|skipped| skipped.after_step <= step);
        skipped.map(|skipped| skipped.problem as usize).collect()
    }
}

/// Questions with their ids, in the form that the trainer takes.
pub fn problems<'a, T: Truth>(
    questions: impl IntoIterator<Item = (usize, &'a Question<T>)>,
    policy: &Qwen2Policy,
) -> Result<Vec<Problem<T>>, Error> {
    let problem = |(id, question): (usize, &Question<T>)| {
        let prompt = policy.prompt(&question.messages)?;
        let messages = question.messages.clone();
        Ok(Problem { id: id as u64, prompt, messages, truth: question.truth.clone() })
    };
    questions.into_iter().map(problem).collect()
}

/// Approximate length of the longest prompt in tokens: that of the longest conversation.
pub(super) fn longest_prompt<T>(task: &Task<T>, policy: &Qwen2Policy) -> Result<usize, Error> {
    let length = |question: &&Question<T>| question.messages.iter().map(|m| m.content.len()).sum::<usize>();
    let longest = task.train.iter().max_by_key(length);
    let prompt = longest.map(|question| policy.prompt(&question.messages)).transpose()?;
    Ok(prompt.map_or(0, |prompt| prompt.len()))
}

/// The next `n` wanted problems from a position on that have not been met, or as many as there are.
fn unmet(
    order: &mut Order,
    first: u64,
    n: usize,
    all: usize,
    met: &[usize],
    wanted: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut others = Vec::new();
    // Two passes over the order cover every problem.
    for position in first..first + 2 * all as u64 {
        if others.len() == n {
            break;
        }
        let problem = order.problem(position);
        if !met.contains(&problem) && !others.contains(&problem) && wanted(problem) {
            others.push(problem);
        }
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_met_once_and_then_there_are_no_others() {
        let mut order = Order::new(5, 3);
        let mut met = vec![2];
        for (n, expected) in [(1, 1), (2, 2), (3, 1), (1, 0)] {
            let others = unmet(&mut order, 4, n, 5, &met, |_| true);
            assert_eq!(others.len(), expected, "{met:?}");
            met.extend(others);
        }
        met.sort_unstable();
        assert_eq!(met, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_problem_that_is_passed_over_makes_room_for_another() {
        let question = |truth: u32| Question::new("", "?", truth);
        let task = Task::new((0..6).map(question).collect());
        let config = RunConfig::from_toml("problems_per_step = 3").unwrap();
        let batches = |skipped: &[Skipped]| -> Vec<Vec<usize>> {
            let mut problems = Problems::new(&task, &config).skipping(skipped);
            (0..4).map(|step| problems.batch(step, &mut problems.passed_over(step))).collect()
        };
        let all = batches(&[]);
        let problem = all[2][0];
        let skipped = batches(&[Skipped { problem: problem as u64, after_step: 2 }]);
        assert_eq!(all[..2], skipped[..2]);
        for batch in &skipped[2..] {
            let mut distinct = batch.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert!(distinct.len() == 3 && !batch.contains(&problem), "{batch:?}");
        }
    }

    #[test]
    fn a_curriculum_replaces_what_is_too_easy_and_fills_every_step() {
        let task = Task::new((0..8).map(|truth: u32| Question::new("", "?", truth)).collect());
        let config = RunConfig::from_toml("problems_per_step = 4\ncurriculum.floor = 1e-9").unwrap();
        let mut problems = Problems::new(&task, &config);
        problems.rates.add(&(0..5).map(|problem| (problem, 1.0)).collect());
        for step in 0..6 {
            let mut batch = problems.batch(step, &mut Vec::new());
            // The three others, and one that is too easy, because a step has four.
            batch.sort_unstable();
            assert_eq!((batch.len(), &batch[1..]), (4, &[5, 6, 7][..]), "step {step}");
            assert!(batch[0] < 5);
        }
    }
}
