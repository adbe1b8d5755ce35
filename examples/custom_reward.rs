//! A task of one's own: letters that read the same backwards. `cargo run --release --example custom_reward`

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;

use burn::tensor::Device;
use grpo_core::{Completion, Reward};
use grpo_qwen2::Message;
use grpo_reward::Rubric;
use grpo_trainer::{EvaluationOptions, Problem, Qwen2Policy, Qwen2PolicyConfig, Trainer, TrainerConfig};

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

fn main() -> Result<(), Box<dyn Error>> {
    // A closure is a reward, too. Without this one, `a a a a a` would do.
    let variety = |_: &usize, completion: &Completion| {
        let different: HashSet<&str> = letters(completion).into_iter().collect();
        if different.len() > 1 { 1.0 } else { 0.0 }
    };
    let rubric = Rubric::new().with("palindrome", 1.0, Palindrome).with("variety", 0.5, variety);

    let mut config = TrainerConfig { group_size: 16, learning_rate: 1e-3, ..TrainerConfig::default() };
    (config.max_completion_length, config.recipe.objective.beta) = (20, 0.0);
    let folder = Path::new("examples/embedded/model");
    let policy = Qwen2Policy::load(folder, &Device::flex(), &Qwen2PolicyConfig::default())?;
    // The truth of a problem is whatever the rewards need to know: here, how many letters were asked for.
    let problem = |n: usize| -> Result<_, Box<dyn Error>> {
        let prompt = policy.prompt(&[Message::new("user", format!("Write {n} letters."))])?;
        Ok(Problem { id: n as u64, prompt, truth: n })
    };
    let problems = (3..=8).map(problem).collect::<Result<Vec<_>, _>>()?;

    let mut trainer = Trainer::new(policy, rubric, config)?;
    let before = trainer.evaluate(&problems, &EvaluationOptions::greedy())?;
    for _ in 0..300 {
        let metrics = trainer.step(&problems)?;
        if metrics.step % 30 == 0 {
            println!("step {}: mean reward {:.2}", metrics.step, metrics.reward);
        }
    }
    let after = trainer.evaluate(&problems, &EvaluationOptions::greedy())?;
    for ((before, _), (after, _)) in before.completions.iter().zip(&after.completions) {
        println!("{before:16} -> {after}");
    }
    Ok(())
}
