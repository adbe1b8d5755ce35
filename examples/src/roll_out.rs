//! The rollout of a step of the task.

use grpo_trainer::{Experiences, Order, Qwen2Policy, RolloutTimes, Trainer};

use crate::gsm8k;
use crate::task::Task;

/// The next step's problems, answered; those whose completions all earned the same make room for others.
pub fn roll_out(
    trainer: &Trainer<Qwen2Policy, String>,
    task: &Task,
    order: &mut Order,
    n: usize,
) -> anyhow::Result<(Experiences, RolloutTimes)> {
    let rows =
        |chosen: &[usize]| gsm8k::problems(chosen.iter().map(|i| (*i, &task.train[*i])), trainer.policy());
    let mut met = order.batch(trainer.steps(), n);
    let batch = rows(&met)?;
    let (seed, max_redraws) = (trainer.config().seed, trainer.config().recipe.max_redraws);
    let mut spare = Order::new(task.train.len(), !seed);
    let first = trainer.steps() * (n * max_redraws) as u64;
    trainer.roll_out_dynamic(&batch, |n| {
        let others = unmet(&mut spare, first, n, task.train.len(), &met);
        met.extend(&others);
        rows(&others)
    })
}

/// The next `n` of all problems from a position on that have not been met, or as many as there are.
fn unmet(order: &mut Order, first: u64, n: usize, all: usize, met: &[usize]) -> Vec<usize> {
    let mut others = Vec::new();
    // Two rounds of the order have every problem.
    for position in first..first + 2 * all as u64 {
        if others.len() == n {
            break;
        }
        let problem = order.problem(position);
        if !met.contains(&problem) && !others.contains(&problem) {
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
            let others = unmet(&mut order, 4, n, 5, &met);
            assert_eq!(others.len(), expected, "{met:?}");
            met.extend(others);
        }
        met.sort_unstable();
        assert_eq!(met, [0, 1, 2, 3, 4]);
    }
}
