//! A custom task: letters that read the same backwards. `cargo run --release --example custom_reward`

use std::collections::HashSet;

use grpo::{Completion, Error, Event, Question, Reward, Rubric, Run, RunConfig, Task};

fn letters(completion: &Completion) -> Vec<&str> {
    completion.text.split_whitespace().collect()
}

/// Pays the share of letters that are the same from both ends, if there are as many as were asked for.
struct Palindrome;

impl Reward<usize> for Palindrome {
    fn score(&self, n: &usize, completion: &Completion) -> f32 {
        let letters = letters(completion);
        let mirrored = letters.iter().zip(letters.iter().rev()).filter(|(a, b)| a == b).count();
        if letters.len() == *n { mirrored as f32 / *n as f32 } else { 0.0 }
    }
}

fn main() -> Result<(), Error> {
    // A closure is a reward, too. Without this one, `a a a a a` would do.
    let variety = |_: &usize, completion: &Completion| {
        let different: HashSet<&str> = letters(completion).into_iter().collect();
        if different.len() > 1 { 1.0 } else { 0.0 }
    };
    let rubric = Rubric::new().with("palindrome", 1.0, Palindrome).with("variety", 0.5, variety);
    let config = RunConfig::from_toml(
        "model = 'examples/embedded/model'
        steps = 300
        problems_per_step = 6
        group_size = 16
        max_completion_length = 20
        learning_rate = 1e-3
        beta = 0",
    )?;
    // The truth of a question is whatever the rewards need to know: here, how many letters were asked for.
    let questions: Vec<_> = (3..=8).map(|n| Question::new("", &format!("Write {n} letters."), n)).collect();
    let task = Task::new(questions.clone()).with_test("letters", questions);

    let mut run = Run::open("runs/palindromes", config, task, rubric)?;
    let outcome = run.train(|event| match event {
        Event::Step { metrics, .. } if metrics.step % 30 == 0 => {
            println!("step {}: mean reward {:.2}", metrics.step, metrics.reward);
        }
        _ => {}
    })?;
    for comparison in outcome.comparisons {
        for (before, after) in comparison.before.completions.iter().zip(&comparison.after.completions) {
            println!("{:16} -> {}", before.completion, after.completion);
        }
    }
    Ok(())
}
