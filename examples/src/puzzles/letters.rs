use serde_json::{Value, json};

use super::{Puzzle, Solution, are_for_tests};
use crate::dice::Dice;

/// How often a letter is in a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letters {
    word: String,
    letter: char,
}

const SYLLABLES: [&str; 48] = [
    "straw", "ber", "ry", "ba", "na", "mis", "sis", "sip", "pi", "ter", "lo", "mo", "ran", "ge", "pep",
    "per", "let", "ton", "car", "rot", "ap", "ple", "ban", "tom", "ma", "to", "co", "nut", "cher", "but",
    "tle", "sum", "mer", "win", "rob", "bin", "kit", "ten", "pup", "py", "sil", "ver", "gol", "den", "fin",
    "ger", "nin", "tee",
];

/// What everybody asks about; never trained on.
const STRAWBERRY: &str = "strawberry";

impl Letters {
    fn count(&self) -> usize {
        self.word.matches(self.letter).count()
    }
}

impl Puzzle for Letters {
    const NAME: &'static str = "letters";
    const TRUTH: &'static str = "count";

    /// The counts 1, 2 and 3 are equally frequent; one puzzle in ten has 0.
    fn draw(dice: &mut Dice) -> Self {
        let wanted = if dice.number(0, 9) == 0 { 0 } else { dice.number(1, 3) as usize };
        loop {
            let word: String = (0..dice.number(2, 4)).map(|_| dice.one_of(&SYLLABLES)).collect();
            let letters: Vec<char> = word.chars().collect();
            let letter =
                if wanted == 0 { char::from(b'a' + dice.number(0, 25) as u8) } else { dice.one_of(&letters) };
            let puzzle = Self { word, letter };
            if puzzle.count() == wanted {
                return puzzle;
            }
        }
    }

    fn is_for_tests(&self) -> bool {
        self.word == STRAWBERRY || are_for_tests(self.word.bytes())
    }

    fn question(&self) -> String {
        format!("How many times is the letter {} in {}?", self.letter, self.word)
    }

    fn row(&self) -> Value {
        json!({ "word": self.word, "letter": self.letter, "count": self.count() })
    }

    /// Letter by letter, and the count behind each that is looked for.
    fn careful(&self) -> Solution {
        let mut found = 0;
        let spelled: Vec<String> = self
            .word
            .chars()
            .map(|letter| {
                if letter == self.letter {
                    found += 1;
                    format!("{letter} {found}")
                } else {
                    letter.to_string()
                }
            })
            .collect();
        Solution { steps: vec![spelled.join(" ")], answer: found.to_string() }
    }

    /// A guess, which is right at least half of the time.
    fn hasty(&self, dice: &mut Dice) -> Solution {
        let count = self.count() as u32;
        let answer = match dice.number(0, 3) {
            0 | 1 => count,
            2 => count + 1,
            _ => count.saturating_sub(1),
        };
        Solution { steps: vec![self.word.clone()], answer: answer.to_string() }
    }
}
