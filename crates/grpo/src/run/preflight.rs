//! Whether there is anything to learn, before the first step.

use std::fmt;
use std::time::{Duration, Instant};

use grpo_core::{Finish, mean};
use grpo_trainer::{Experience, Group, Proportion, Qwen2Policy, Trainer};

use super::{Interrupt, Problems};
use crate::{Error, Truth};

/// Below this share of groups with a signal, most of the time is spent on groups that teach nothing.
const FEW_SIGNALS: f64 = 0.1;

/// The rewards of a model before training: rollouts of the first problems of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Preflight {
    /// Problems answered.
    pub problems: usize,
    /// Completions per problem.
    pub group_size: usize,
    /// Mean of the weighted sum of rewards.
    pub reward: f64,
    /// Mean of each reward, by name.
    pub rewards: Vec<(String, f64)>,
    /// Groups whose completions do not all earn the same reward: only these teach anything.
    pub with_signal: Proportion,
    /// Groups in which a completion earned something from the first reward (pass@G, if that reward is for correctness).
    pub solved: Proportion,
    /// Completions that were cut off.
    pub truncated: Proportion,
    /// Mean tokens of a completion.
    pub length: f64,
    /// Time per step for sampling, scoring and the reference.
    pub rollout: Duration,
}

/// Why a run cannot work, or hardly can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// No completion earns anything.
    NothingEarned,
    /// All completions of every group earn the same reward.
    NoSignal,
    /// The same for nearly all groups.
    FewSignals,
    /// Every completion is cut off.
    AllTruncated,
}

impl Preflight {
    /// Answers at most `problems` problems, those of the next steps, for at most about `time`; the trainer does not change.
    pub(super) fn run<T: Truth>(
        trainer: &Trainer<Qwen2Policy, T>,
        mut order: Problems<'_, T>,
        problems: usize,
        time: Duration,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let (start, order_len) = (Instant::now(), order.len());
        let (mut groups, mut spent, mut steps) = (Vec::new(), Duration::ZERO, 0);
        let is_enough = |groups: usize| {
            groups >= problems.min(order_len) || start.elapsed() >= time || interrupt.is_requested()
        };
        while steps == 0 || !is_enough(groups.len()) {
            let (experiences, times) = order.preview(trainer, trainer.steps() + u64::from(steps))?;
            spent += times.generate + times.reward + times.reference;
            groups.extend(experiences.groups);
            steps += 1;
        }
        Ok(Self::of(trainer.rubric().names(), &groups, spent / steps))
    }

    fn of<'a>(names: impl Iterator<Item = &'a str>, groups: &[Group<Experience>], rollout: Duration) -> Self {
        let completions: Vec<&Experience> = groups.iter().flat_map(|group| &group.completions).collect();
        // Without completions on which the reward abstains.
        let mean_of = |value: &dyn Fn(&Experience) -> f64| {
            let values: Vec<f64> =
                completions.iter().map(|e| value(e)).filter(|value| !value.is_nan()).collect();
            mean(values.into_iter())
        };
        let share_of = |is_so: &dyn Fn(&Group<Experience>) -> bool| Proportion {
            successes: groups.iter().filter(|group| is_so(group)).count(),
            trials: groups.len(),
        };
        let is_right = |e: &Experience| e.scored.scores.each.first().is_some_and(|reward| *reward > 0.0);
        let cut = |e: &&&Experience| e.scored.completion.finish == Finish::Length;
        let of_reward =
            |(i, name): (usize, &str)| (name.to_string(), mean_of(&|e| f64::from(e.scored.scores.each[i])));
        Self {
            problems: groups.len(),
            group_size: groups.first().map_or(0, |group| group.completions.len()),
            reward: mean_of(&|e| f64::from(e.scored.scores.total)),
            rewards: names.enumerate().map(of_reward).collect(),
            with_signal: share_of(&|group| group.has_signal()),
            solved: share_of(&|group| group.completions.iter().any(is_right)),
            truncated: Proportion {
                successes: completions.iter().filter(cut).count(),
                trials: completions.len(),
            },
            length: mean_of(&|e| e.scored.completion.n_tokens as f64),
            rollout,
        }
    }

    /// Why a run cannot work, or hardly can, if so.
    pub fn obstacle(&self) -> Option<Obstacle> {
        let all = |share: &Proportion| share.successes == share.trials;
        if all(&self.truncated) {
            Some(Obstacle::AllTruncated)
        } else if self.rewards.iter().all(|(_, reward)| *reward == 0.0) {
            Some(Obstacle::NothingEarned)
        } else if self.with_signal.successes == 0 {
            Some(Obstacle::NoSignal)
        } else if self.with_signal.value() < FEW_SIGNALS {
            Some(Obstacle::FewSignals)
        } else {
            None
        }
    }
}

impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: &Proportion| format!("{:.0} %", 100.0 * share.value());
        let rewards: Vec<String> =
            self.rewards.iter().map(|(name, reward)| format!("{name} {reward:.2}")).collect();
        let first = self.rewards.first().map_or("reward", |(name, _)| name);
        write!(
            f,
            "{} problems x {} completions: mean reward {:.2} ({}); groups with a signal: {}; groups with {first} above 0 \
             (pass@{}): {}; {:.0} tokens per completion, {} truncated; {:.1} s per rollout",
            self.problems,
            self.group_size,
            self.reward,
            rewards.join(", "),
            percent(&self.with_signal),
            self.group_size,
            percent(&self.solved),
            self.length,
            percent(&self.truncated),
            self.rollout.as_secs_f64(),
        )
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingEarned => {
                "no completion earns anything, so there is nothing to learn from: check that the prompt asks for the format that \
                 the rewards pay for, use easier problems or a larger model, or add a reward with partial credit"
            }
            Self::NoSignal => {
                "no group has a signal: all its completions earn the same, or with max_redraws the same from redraw_reward. There is \
                 nothing to learn from: use easier or harder problems, a larger group_size, a reward with more than two values, or \
                 another redraw_reward"
            }
            Self::FewSignals => {
                "more than nine of ten groups have no signal, so most of the time is wasted: use easier \
                 or harder problems or a larger group_size, or set max_redraws to replace such groups with other problems"
            }
            Self::AllTruncated => {
                "every completion is cut off at max_completion_length: raise it, or check that the model knows its stop token"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preflight(reward: f64, signal: usize, truncated: usize) -> Preflight {
        let share = |successes| Proportion { successes, trials: 32 };
        Preflight {
            problems: 32,
            group_size: 1,
            reward,
            rewards: vec![("correctness".to_string(), reward)],
            with_signal: share(signal),
            solved: share(signal),
            truncated: share(truncated),
            length: 9.0,
            rollout: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_cannot_work_is_said_in_plain_words() {
        for (reward, signal, truncated, expected) in [
            (0.0, 0, 0, Some(Obstacle::NothingEarned)),
            (0.5, 0, 0, Some(Obstacle::NoSignal)),
            (0.5, 3, 0, Some(Obstacle::FewSignals)),
            (0.0, 0, 32, Some(Obstacle::AllTruncated)),
            (0.5, 16, 31, None),
        ] {
            assert_eq!(preflight(reward, signal, truncated).obstacle(), expected);
        }
        let shown = preflight(0.5, 16, 0).to_string();
        assert!(shown.contains("groups with a signal: 50 %") && shown.contains("(pass@1)"), "{shown}");
    }
}
