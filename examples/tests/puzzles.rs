//! The puzzles: the datasets are what the program writes, and the configurations ask and reward as the demonstrations do.

use std::collections::HashSet;

use grpo::{Completion, Finish, Hub, Row, RunConfig, Task};
use grpo_examples::dice::Dice;
use grpo_examples::puzzles::{Countdown, Letters, Puzzle, Solution, TESTS, folder, rows, stream};
use serde_json::Value;

mod common;

fn config<P: Puzzle>() -> RunConfig {
    let mut config = RunConfig::read(folder(P::NAME).with_extension("toml")).unwrap();
    config.task.dataset = folder(P::NAME).display().to_string();
    config
}

fn completion(Solution { steps, answer }: Solution) -> Completion {
    let reasoning = steps.join("\n");
    let text = format!("<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>\n");
    Completion { text, n_tokens: 9, finish: Finish::Stop }
}

#[test]
fn the_files_are_what_the_program_writes() {
    let out = tempfile::tempdir().unwrap();
    common::succeed(common::example("make_puzzles").args(["--out", out.path().to_str().unwrap()]));
    for (name, split, generated) in [
        ("countdown", "train", rows::<Countdown>("train")),
        ("countdown", "test", rows::<Countdown>("test")),
        ("letters", "train", rows::<Letters>("train")),
        ("letters", "test", rows::<Letters>("test")),
    ] {
        let file = format!("{name}/{split}.jsonl");
        let read = |folder: &std::path::Path| std::fs::read_to_string(folder.join(&file)).unwrap();
        assert!(read(out.path()) == generated && read(&folder("")) == generated, "{file}");
    }
}

#[test]
fn configurations_ask_what_was_demonstrated() {
    asks_what_was_demonstrated::<Countdown>();
    asks_what_was_demonstrated::<Letters>();
}

fn asks_what_was_demonstrated<P: Puzzle>() {
    let config = config::<P>();
    let task: Task<Row> = Task::load(&config.task, &Hub::from_env().unwrap()).unwrap();
    assert_eq!(task.tests[0].questions.len(), TESTS);
    for (question, puzzle) in task.train.iter().zip(stream::<P>(Dice::new(1))).take(20) {
        assert_eq!(question.text(), puzzle.question());
        assert_eq!(question.truth.truth, puzzle.example().truth);
        assert_eq!(question.truth.columns, puzzle.example().columns);
    }
}

#[test]
fn nothing_tested_was_learned_from() {
    let numbers = |row: &Value| {
        let mut numbers: Vec<u64> =
            row["numbers"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        numbers.sort_unstable();
        format!("{numbers:?}")
    };
    let word = |row: &Value| row["word"].as_str().unwrap().to_string();
    let contents = |name: &str, split: &str, of: &dyn Fn(&Value) -> String| -> HashSet<String> {
        let text = std::fs::read_to_string(folder(name).join(format!("{split}.jsonl"))).unwrap();
        text.lines().map(|line| of(&serde_json::from_str(line).unwrap())).collect()
    };
    // Pretraining draws from streams without end.
    let demonstrated: HashSet<String> =
        stream::<Countdown>(Dice::new(3)).take(50_000).map(|puzzle| numbers(&puzzle.row())).collect();
    assert!(contents("countdown", "test", &numbers).is_disjoint(&demonstrated));
    assert!(contents("countdown", "test", &numbers).is_disjoint(&contents("countdown", "train", &numbers)));
    let demonstrated: HashSet<String> =
        stream::<Letters>(Dice::new(4)).take(50_000).map(|puzzle| word(&puzzle.row())).collect();
    assert!(contents("letters", "test", &word).is_disjoint(&demonstrated));
    assert!(contents("letters", "test", &word).is_disjoint(&contents("letters", "train", &word)));
    assert!(!demonstrated.contains("strawberry"));
}

#[test]
fn careful_solutions_are_paid_in_full_and_hasty_ones_at_times() {
    assert_eq!(paid::<Countdown>().0, 200);
    assert_eq!(paid::<Letters>().0, 200);
    let hasty = [paid::<Countdown>().1, paid::<Letters>().1];
    assert!(hasty.iter().all(|right| (20..150).contains(right)), "{hasty:?} of 200 are right");
}

/// How many careful and hasty solutions of 200 earn everything.
fn paid<P: Puzzle>() -> (usize, usize) {
    let rubric = config::<P>().task.rubric().unwrap();
    let mut dice = Dice::new(7);
    let (mut careful, mut hasty) = (0, 0);
    for puzzle in stream::<P>(Dice::new(6)).take(200) {
        let example = puzzle.example();
        let row = Row { truth: example.truth, columns: example.columns };
        let is_paid = |solution| {
            let scores = rubric.score(&row, &completion(solution)).unwrap();
            scores.total == 2.5
        };
        careful += usize::from(is_paid(puzzle.careful()));
        hasty += usize::from(is_paid(puzzle.hasty(&mut dice)));
    }
    (careful, hasty)
}

#[test]
fn the_model_is_made_by_the_program() {
    let out = tempfile::tempdir().unwrap();
    let made = out.path().to_str().unwrap();
    let small = ["--lessons", "puzzles", "--steps", "1", "--problems", "2", "--out", made];
    let shown = common::succeed(common::example("pretrain_tiny").args(small));
    assert!(shown.contains("step 1, 32 demonstrations"), "{shown}");
    for name in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        let [committed, made] =
            [folder("model").join(name), out.path().join(name)].map(|path| std::fs::read(path).unwrap());
        assert!(committed == made, "{name}");
    }
}
