//! Grade-school word problems in the form of GSM8K, generated from templates.
//!
//! A problem's numbers decide whether it is for training or for testing: no combination of numbers that is tested, in any
//! template, is ever trained on. A second kind of test problem also has its own templates.

mod templates;
mod working;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use templates::{HELD_OUT, KNOWN, Template};
use working::Working;

use crate::dice::Dice;
use crate::embedded::TEST_PROBLEMS;

/// What problems are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be learned from.
    Train,
    /// To be measured on: numbers never learned from.
    Test,
    /// To be measured on: numbers and templates never learned from.
    HeldOutTemplates,
}

/// A question and its worked solution, which ends in `#### ` and the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WordProblem {
    /// The column `question` of GSM8K.
    pub question: String,
    /// The column `answer` of GSM8K.
    pub solution: String,
}

impl WordProblem {
    /// The lines of the solution.
    pub fn steps(&self) -> Vec<&str> {
        let (steps, _) = self.parts();
        steps.lines().collect()
    }

    /// What the solution comes to.
    pub fn answer(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.solution.rsplit_once("\n#### ").expect("a worked solution ends in its answer")
    }
}

impl From<WordProblem> for grpo_data::Example {
    fn from(problem: WordProblem) -> Self {
        let truth = problem.answer().to_string();
        let columns = [("answer".to_string(), problem.solution.clone().into())].into_iter().collect();
        Self { history: Vec::new(), question: problem.question, solution: problem.solution, truth, columns }
    }
}

impl Purpose {
    fn templates(self) -> &'static [Template] {
        match self {
            Self::Train | Self::Test => &KNOWN,
            Self::HeldOutTemplates => &HELD_OUT,
        }
    }

    /// How many templates problems of this kind are made of, in turn.
    pub fn n_templates(self) -> usize {
        self.templates().len()
    }

    fn tests(self) -> bool {
        self != Self::Train
    }
}

/// Problems without end, from all templates of their kind in turn; the same ones for the same seed.
pub fn stream(purpose: Purpose, seed: u64) -> impl Iterator<Item = WordProblem> {
    let mut dice = Dice::new(seed);
    purpose.templates().iter().cycle().map(move |template| {
        loop {
            let mut working = Working::default();
            let question = template(&mut dice, &mut working);
            if are_for_tests(&numbers(&question)) == purpose.tests() {
                return WordProblem { question, solution: working.solution() };
            }
        }
    })
}

/// The first `n` problems of a stream that differ from each other.
pub fn distinct(purpose: Purpose, seed: u64, n: usize) -> Vec<WordProblem> {
    let mut seen = HashSet::new();
    stream(purpose, seed).filter(|problem| seen.insert(problem.clone())).take(n).collect()
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Whether a combination of numbers is kept for tests: one in six, without a pattern that could be learned.
fn are_for_tests(numbers: &[u64]) -> bool {
    let mixed = numbers.iter().fold(0x2545_F491_4F6C_DD1D_u64, |hash, number| {
        let hash = (hash ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^ (hash >> 29)
    });
    mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9).rotate_left(17).is_multiple_of(6)
}

/// The problems that come with the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dataset {
    purpose: Purpose,
    folder: &'static str,
    split: &'static str,
    seed: u64,
    n: usize,
}

impl Dataset {
    /// What is learned from, what is tested with other numbers, and what is tested with other templates, too.
    pub const ALL: [Self; 3] = [
        Self { purpose: Purpose::Train, folder: "problems", split: "train", seed: 1, n: 1920 },
        Self { purpose: Purpose::Test, folder: "problems", split: "test", seed: 2, n: TEST_PROBLEMS },
        Self {
            purpose: Purpose::HeldOutTemplates,
            folder: "held_out_templates",
            split: "test",
            seed: 3,
            n: 240,
        },
    ];

    /// Where its file is in the folder of embedded material.
    pub fn file(&self) -> PathBuf {
        Path::new(self.folder).join(format!("{}.parquet", self.split))
    }

    /// Its problems.
    pub fn problems(&self) -> Vec<WordProblem> {
        distinct(self.purpose, self.seed, self.n)
    }
}
