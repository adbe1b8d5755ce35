//! Random choices that the same seed repeats.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// First names.
pub const NAMES: [&str; 16] = [
    "Ana", "Ben", "Carla", "David", "Emma", "Farid", "Grace", "Hugo", "Iris", "Jonas", "Kira", "Leo", "Mia",
    "Noah", "Olga", "Paul",
];

/// Things that can be counted.
pub const THINGS: [&str; 12] = [
    "apples", "balls", "books", "cards", "coins", "eggs", "marbles", "pens", "plums", "shells", "stamps",
    "stickers",
];

/// Draws names, things and numbers.
pub struct Dice {
    generator: ChaCha8Rng,
    /// Where in the list the next name is: the names of a problem differ.
    next_name: usize,
}

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { generator: ChaCha8Rng::seed_from_u64(seed), next_name: 0 }
    }

    /// A number from `low` to `high`, both included.
    pub fn number(&mut self, low: u32, high: u32) -> u32 {
        low + (self.generator.next_u64() % u64::from(high - low + 1)) as u32
    }

    /// One of some choices.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.number(0, choices.len() as u32 - 1) as usize]
    }

    /// A first name; up to three in a row differ.
    pub fn name(&mut self) -> &'static str {
        self.next_name += self.number(1, 7) as usize;
        NAMES[self.next_name % NAMES.len()]
    }

    /// Things that can be counted.
    pub fn thing(&mut self) -> &'static str {
        self.one_of(&THINGS)
    }
}
