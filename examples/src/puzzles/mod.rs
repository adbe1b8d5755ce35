//! Two kinds of puzzles: to reach a number with others, and to count the letters of a word. A puzzle is a row of a dataset; which are for
//! tests depends on their contents, so that none of those is ever learned from.

mod countdown;
mod letters;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use grpo_data::Example;
use serde_json::Value;

use crate::dice::Dice;

pub use countdown::Countdown;
pub use letters::Letters;

/// Held-out puzzles of each kind.
pub const TESTS: usize = 300;
/// Puzzles of each kind to train on.
const TRAIN: usize = 1500;

/// A folder of the puzzles' material.
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("puzzles").join(name)
}

/// Ways to solve a puzzle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solution {
    /// A line for each step.
    pub steps: Vec<String>,
    /// What they come to.
    pub answer: String,
}

/// A puzzle.
pub trait Puzzle: Sized {
    /// The folder of its dataset, and the name of its configuration.
    const NAME: &'static str;

    /// The column of the truth.
    const TRUTH: &'static str;

    /// A puzzle for training or for tests.
    fn draw(dice: &mut Dice) -> Self;

    /// Whether it is for tests alone.
    fn is_for_tests(&self) -> bool;

    /// What is asked.
    fn question(&self) -> String;

    /// The columns of its row.
    fn row(&self) -> Value;

    /// Step by step, and right.
    fn careful(&self) -> Solution;

    /// At a glance, and often wrong.
    fn hasty(&self, dice: &mut Dice) -> Solution;

    /// As it is read from the dataset.
    fn example(&self) -> Example {
        let row = self.row();
        let mut columns = row.as_object().expect("a row has columns").clone();
        let truth = columns.remove(Self::TRUTH).expect("one of them is the truth").to_string();
        Example { history: Vec::new(), question: self.question(), solution: truth.clone(), truth, columns }
    }
}

/// Puzzles to learn from, without end; the same ones for the same seed.
pub fn stream<P: Puzzle>(mut dice: Dice) -> impl Iterator<Item = P> {
    std::iter::repeat_with(move || P::draw(&mut dice)).filter(|puzzle| !puzzle.is_for_tests())
}

/// The rows of a split, `train` or `test`, as JSON lines.
pub fn rows<P: Puzzle>(split: &str) -> String {
    let (is_test, seed, n) = if split == "test" { (true, 2, TESTS) } else { (false, 1, TRAIN) };
    let mut dice = Dice::new(seed);
    let mut seen = HashSet::new();
    let rows = std::iter::repeat_with(|| P::draw(&mut dice))
        .filter(|puzzle| puzzle.is_for_tests() == is_test)
        .map(|puzzle| format!("{}\n", puzzle.row()))
        .filter(|row| seen.insert(row.clone()));
    rows.take(n).collect()
}

/// Whether contents are kept for tests: one in six, without a pattern that could be learned.
fn are_for_tests(contents: impl IntoIterator<Item = u8>) -> bool {
    let mixed = contents.into_iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    (mixed ^ (mixed >> 32)).is_multiple_of(6)
}
