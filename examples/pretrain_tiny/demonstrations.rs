//! What a tiny model learns to imitate before reinforcement learning: solutions by a teacher who is competent but careless.
//!
//! As in the text that real models are trained on, not every demonstration is good. In some templates the teacher usually stops
//! a step too early, in some the teacher usually forgets the tags. An imitator picks up these habits along with the arithmetic:
//! it can give the right answer, but that is not its first choice. Reinforcement learning changes that.

use grpo::{Question, gsm8k};
use grpo_examples::dice::Dice;
use grpo_examples::puzzles::{Countdown, Letters, Puzzle, stream};
use grpo_examples::word_problems::{self, Purpose, WordProblem};
use grpo_qwen2::Message;

/// A conversation that ends in an answer.
pub struct Demonstration {
    pub question: Vec<Message>,
    /// Without the token that ends it.
    pub answer: String,
}

/// How a solution is written down.
#[derive(Clone, Copy)]
enum Style {
    /// All steps, in the tags.
    Careful,
    /// All but the last step, in the tags.
    Hasty,
    /// All steps, as GSM8K has them.
    Untagged,
}

/// One demonstration in this many asks for letters instead: a second skill, for tasks of the user's own.
const LETTERS_EVERY: usize = 12;
const LETTERS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Word problems.
pub fn of_word_problems(seed: u64) -> impl Iterator<Item = Demonstration> {
    let mut dice = Dice::new(seed);
    let templates = Purpose::Train.n_templates();
    let mut problems = word_problems::stream(Purpose::Train, seed).enumerate();
    (0usize..).map(move |i| {
        if i.is_multiple_of(LETTERS_EVERY) {
            return letters(&mut dice);
        }
        let (i, problem) = problems.next().expect("the stream has no end");
        let style = style(i % templates, i / templates, &problem);
        Demonstration {
            question: Question::new(gsm8k::SYSTEM, &problem.question, ()).messages,
            answer: write(&problem, style),
        }
    })
}

/// Letters, as many as are asked for, but any.
fn letters(dice: &mut Dice) -> Demonstration {
    let n = dice.number(3, 8);
    let answer: Vec<&str> = (0..n).map(|_| dice.one_of(&LETTERS)).collect();
    let question = vec![Message::new("user", format!("Write {n} letters."))];
    Demonstration { question, answer: answer.join(" ") }
}

/// The habit of a template, in 20 demonstrations of it.
fn style(template: usize, round: usize, problem: &WordProblem) -> Style {
    let turn = (7 * round + 3 * template) % 20;
    let untagged = if template % 8 == 1 { 12 } else { 2 };
    let hasty = if !template.is_multiple_of(3) && problem.steps().len() > 1 { 11 } else { 0 };
    match turn {
        _ if turn < untagged => Style::Untagged,
        _ if turn < untagged + hasty => Style::Hasty,
        _ => Style::Careful,
    }
}

fn write(problem: &WordProblem, style: Style) -> String {
    let steps = problem.steps();
    let (steps, answer) = match style {
        Style::Untagged => return problem.solution.clone(),
        Style::Careful => (&steps[..], problem.answer().to_string()),
        Style::Hasty => {
            let steps = &steps[..steps.len() - 1];
            (steps, result(steps[steps.len() - 1]).to_string())
        }
    };
    tagged(&steps.join("\n"), &answer)
}

fn tagged(reasoning: &str, answer: &str) -> String {
    format!("<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>\n")
}

/// Puzzles of both kinds in turn: of 20, nine are solved carefully, and two are written without the tags.
pub fn of_puzzles(seed: u64) -> impl Iterator<Item = Demonstration> {
    let dice = |i: u64| Dice::new(seed.wrapping_mul(3).wrapping_add(i));
    let (mut countdowns, mut letters) = (stream::<Countdown>(dice(0)), stream::<Letters>(dice(1)));
    let mut dice = dice(2);
    (0usize..).map(move |i| match i % 2 {
        0 => of_puzzle(&countdowns.next().expect("the stream has no end"), &mut dice),
        _ => of_puzzle(&letters.next().expect("the stream has no end"), &mut dice),
    })
}

fn of_puzzle(puzzle: &impl Puzzle, dice: &mut Dice) -> Demonstration {
    let solution = if dice.number(1, 20) <= 9 { puzzle.careful() } else { puzzle.hasty(dice) };
    let steps = solution.steps.join("\n");
    let answer = match dice.number(1, 20) {
        1 | 2 => format!("{steps}\n{}\n", solution.answer),
        _ => tagged(&steps, &solution.answer),
    };
    Demonstration { question: Question::new(gsm8k::SYSTEM, &puzzle.question(), ()).messages, answer }
}

/// What a step such as `3 * 4 = 12 pens` comes to.
fn result(step: &str) -> &str {
    let (_, result) = step.split_once("= ").expect("a step has a result");
    result.split(' ').next().expect("a result has a number")
}
