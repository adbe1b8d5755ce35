//! The embedded material: it matches its description, and its programs reproduce it.

use std::collections::HashSet;
use std::path::Path;

use grpo_data::{Columns, Example, Split, load};
use grpo_examples::dice::{NAMES, THINGS};
use grpo_examples::embedded;
use grpo_examples::word_problems::{Dataset, Purpose, stream};

mod common;

fn committed(folder: &str, split: &Split) -> Vec<Example> {
    load(embedded::folder(folder), split, &Columns::default()).unwrap()
}

fn numbers(example: &Example) -> Vec<u32> {
    let digits = example.question.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

/// What is left of a question without its numbers, names and things: its template.
fn template(question: &str) -> String {
    let words = question.split(|c: char| !c.is_alphabetic());
    let own = |word: &&str| !word.is_empty() && !NAMES.contains(word) && !THINGS.contains(word);
    words.filter(own).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_configuration_has_the_numbers_of_the_programs() {
    let config = embedded::config().unwrap();
    assert_eq!(
        (config.execution.steps, config.task.eval_problems),
        (embedded::STEPS, embedded::TEST_PROBLEMS)
    );
}

#[test]
fn the_files_are_what_the_program_writes() {
    let out = tempfile::tempdir().unwrap();
    common::succeed(common::example("word_problems").args(["--out", out.path().to_str().unwrap()]));
    for dataset in Dataset::ALL {
        let written = load(out.path().join(dataset.file()), &Split::train(), &Columns::default()).unwrap();
        let committed =
            load(embedded::folder("").join(dataset.file()), &Split::train(), &Columns::default()).unwrap();
        let generated: Vec<Example> = dataset.problems().into_iter().map(Into::into).collect();
        assert!(written == committed && committed == generated, "{:?}", dataset.file());
    }
}

#[test]
fn nothing_tested_was_learned_from() {
    let train = committed("problems", &Split::train());
    let learned: HashSet<Vec<u32>> = train.iter().map(numbers).collect();
    // Pretraining draws from the same stream without end.
    let demonstrated: HashSet<Vec<u32>> =
        stream(Purpose::Train, 1).take(83_200).map(|p| numbers(&p.into())).collect();
    for folder in ["problems", "held_out_templates"] {
        let test = committed(folder, &Split::test());
        assert!(test.len() >= 200);
        for problem in test {
            let numbers = numbers(&problem);
            assert!(!learned.contains(&numbers) && !demonstrated.contains(&numbers), "{}", problem.question);
        }
    }
    let templates =
        |problems: &[Example]| problems.iter().map(|p| template(&p.question)).collect::<HashSet<_>>();
    let known = templates(&train);
    let held_out = templates(&committed("held_out_templates", &Split::test()));
    assert_eq!((known.len(), held_out.len()), (32, 8));
    assert!(known.is_disjoint(&held_out), "{:?}", known.intersection(&held_out));
}

#[test]
fn every_solution_is_right() {
    for dataset in Dataset::ALL {
        for problem in dataset.problems() {
            assert!((1..=3).contains(&problem.steps().len()), "{problem:?}");
            let mut last = 0;
            for step in problem.steps() {
                let words: Vec<&str> = step.split(' ').collect();
                let (a, b, result) = (number(words[0]), number(words[2]), number(words[4]));
                last = match words[1] {
                    "+" => a + b,
                    "-" => a - b,
                    "*" => a * b,
                    "/" => a / b,
                    sign => panic!("{sign}"),
                };
                assert_eq!((result, words[3]), (last, "="), "{step}");
                assert!(words[1] != "/" || a % b == 0, "{step}");
            }
            assert_eq!(number(problem.answer()), last, "{problem:?}");
        }
    }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap()
}

#[test]
fn a_seed_is_a_stream() {
    let first = |seed| stream(Purpose::Train, seed).take(50).collect::<Vec<_>>();
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

#[test]
fn the_model_is_made_by_the_program() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let shown = common::succeed(common::example("pretrain_tiny").args([
        "--out",
        folder,
        "--steps",
        "2",
        "--problems",
        "4",
    ]));
    assert!(shown.contains("step 2, 64 demonstrations"), "{shown}");
    let mut size = 0;
    for entry in std::fs::read_dir(embedded::folder("model")).unwrap() {
        let path = entry.unwrap().path();
        let name = Path::new(path.file_name().unwrap());
        let [committed, made] =
            [path.clone(), out.path().join(name)].map(|path| std::fs::read(path).unwrap());
        size += committed.len();
        // Two steps do not make its weights.
        let weights = name == Path::new("model.safetensors");
        assert!(weights || committed == made, "{}", name.display());
        assert_eq!(committed.len(), made.len(), "{}", name.display());
    }
    assert!(size < 8_000_000, "{size} bytes");
}
