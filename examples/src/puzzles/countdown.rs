use serde_json::{Value, json};

use super::{Puzzle, Solution, are_for_tests};
use crate::dice::Dice;

/// Three numbers, and another one to reach by adding and subtracting them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Countdown {
    /// In the order in which they are given.
    numbers: [u32; 3],
    target: u32,
}

const SIGNS: [[char; 2]; 4] = [['+', '+'], ['+', '-'], ['-', '+'], ['-', '-']];

/// The value of `a ± b`, if it is above 0.
fn value(a: u32, sign: char, b: u32) -> Option<u32> {
    let value = if sign == '+' { Some(a + b) } else { a.checked_sub(b) };
    value.filter(|value| *value > 0)
}

impl Countdown {
    /// From the largest.
    fn ordered(&self) -> [u32; 3] {
        let mut numbers = self.numbers;
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers
    }

    /// The steps with these signs, and what they come to.
    fn attempt(&self, [first, second]: [char; 2]) -> Option<(String, u32)> {
        let [a, b, c] = self.ordered();
        let sum = value(a, first, b)?;
        let result = value(sum, second, c)?;
        Some((format!("{a} {first} {b} = {sum}, {sum} {second} {c} = {result}"), result))
    }

    fn expression(&self, [first, second]: [char; 2]) -> String {
        let [a, b, c] = self.ordered();
        format!("{a} {first} {b} {second} {c}")
    }
}

impl Puzzle for Countdown {
    const NAME: &'static str = "countdown";
    const TRUTH: &'static str = "target";

    fn draw(dice: &mut Dice) -> Self {
        loop {
            let numbers = [(); 3].map(|()| dice.number(2, 30));
            let [a, b, c] = numbers;
            let puzzle = Self { numbers, target: 0 };
            if let Some((_, target)) =
                puzzle.attempt(dice.one_of(&SIGNS)).filter(|_| a != b && b != c && a != c)
            {
                return Self { target, ..puzzle };
            }
        }
    }

    fn is_for_tests(&self) -> bool {
        let [a, b, c] = self.ordered();
        are_for_tests([a, b, c].map(|number| number as u8))
    }

    fn question(&self) -> String {
        let [a, b, c] = self.numbers;
        format!("Make {} from {a}, {b} and {c}.", self.target)
    }

    fn row(&self) -> Value {
        json!({ "numbers": self.numbers, "target": self.target })
    }

    /// One attempt after the other, until one reaches the target.
    fn careful(&self) -> Solution {
        let mut steps = Vec::new();
        for signs in SIGNS {
            let Some((step, result)) = self.attempt(signs) else { continue };
            steps.push(step);
            if result == self.target {
                return Solution { steps, answer: self.expression(signs) };
            }
        }
        unreachable!("the target was reached when the puzzle was drawn")
    }

    /// The first attempt, whatever it comes to.
    fn hasty(&self, _: &mut Dice) -> Solution {
        let (step, _) = self.attempt(SIGNS[0]).expect("a sum is above 0");
        Solution { steps: vec![step], answer: self.expression(SIGNS[0]) }
    }
}
