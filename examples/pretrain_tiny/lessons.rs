//! What a tiny model learns, and the problems of that kind that say when it stops.

use grpo::{Question, Row, Rubric, RunConfig, gsm8k, questions};
use grpo_data::Example;
use grpo_examples::dice::Dice;
use grpo_examples::puzzles::{self, Countdown, Letters, Puzzle};
use grpo_examples::word_problems::{Purpose, distinct};

use crate::demonstrations::{Demonstration, of_puzzles, of_word_problems};

/// The seed of exams: of no demonstrations.
const EXAM: u64 = u64::MAX;

/// What is demonstrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lessons {
    /// Grade-school word problems.
    WordProblems,
    /// Countdown, and letters of words.
    Puzzles,
}

/// Problems, and how answers are scored; the first reward is for right ones.
pub struct Exam {
    pub questions: Vec<Question<Row>>,
    pub rubric: Rubric<Row>,
    pub max_completion_length: usize,
}

impl Lessons {
    /// Demonstrations without end, the same ones for the same seed.
    pub fn demonstrations(self, seed: u64) -> Box<dyn Iterator<Item = Demonstration>> {
        match self {
            Self::WordProblems => Box::new(of_word_problems(seed)),
            Self::Puzzles => Box::new(of_puzzles(seed)),
        }
    }

    /// Problems of the kinds learned from: no test decides when to stop.
    pub fn exams(self, n: usize) -> anyhow::Result<Vec<Exam>> {
        Ok(match self {
            Self::WordProblems => {
                let problems = distinct(Purpose::Train, EXAM, n).into_iter().map(Into::into).collect();
                let questions = after_system_prompt(problems);
                vec![Exam { questions, rubric: gsm8k::rubric(), max_completion_length: 80 }]
            }
            Self::Puzzles => vec![exam::<Countdown>(n)?, exam::<Letters>(n)?],
        })
    }
}

fn exam<P: Puzzle>(n: usize) -> anyhow::Result<Exam> {
    let puzzles = puzzles::stream::<P>(Dice::new(EXAM)).take(n).map(|puzzle| puzzle.example()).collect();
    let config = RunConfig::read(puzzles::folder(P::NAME).with_extension("toml"))?;
    let max_completion_length = config.algorithm.max_completion_length;
    Ok(Exam { questions: after_system_prompt(puzzles), rubric: config.task.rubric()?, max_completion_length })
}

fn after_system_prompt(problems: Vec<Example>) -> Vec<Question<Row>> {
    questions(&problems, gsm8k::SYSTEM)
}
