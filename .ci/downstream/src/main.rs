//! Trains without any of the other crates: a policy that is a table of probabilities learns which word to
//! say.

use grpo_core::{Completion, Finish, LogProbs, Recipe, Reward};

const WORDS: [&str; 4] = ["yes", "no", "perhaps", "banana"];
const LEARNING_RATE: f64 = 1.0;

/// Pays for the right word, and a little for any plain answer.
struct PlainAnswer;

impl Reward<str> for PlainAnswer {
    fn score(&self, truth: &str, completion: &Completion) -> f32 {
        match completion.text.as_str() {
            text if text == truth => 1.0,
            "yes" | "no" => 0.5,
            _ => 0.0,
        }
    }
}

/// The log-probability of each word.
fn log_softmax(logits: [f64; 4]) -> [f64; 4] {
    let log_sum = logits.iter().map(|logit| logit.exp()).sum::<f64>().ln();
    logits.map(|logit| logit - log_sum)
}

/// One step of GRPO on the group that says every word once: its loss, and the logits after it.
fn step(logits: [f64; 4], old: [f64; 4]) -> Result<(f64, [f64; 4]), Box<dyn std::error::Error>> {
    let completions =
        WORDS.map(|word| Completion { text: word.to_owned(), n_tokens: 1, finish: Finish::Stop });
    let rewards: Vec<f32> =
        completions.iter().map(|completion| PlainAnswer.score("no", completion)).collect();
    let Recipe { advantage, objective, .. } = Recipe::dapo(1);
    let advantages = advantage.of_group(&rewards);
    let lengths: Vec<usize> = completions.iter().map(|completion| completion.n_tokens).collect();

    let scales = objective.scales(&lengths);
    let current = log_softmax(logits);
    let (mut loss, mut updated) = (0.0, logits);
    for (word, (advantage, scale)) in advantages.iter().zip(scales).enumerate() {
        let logprobs = LogProbs::new(&current[word..=word], &old[word..=word])?;
        let term = objective.completion_loss(logprobs, &[f64::from(*advantage)])?;
        loss += scale * term.loss;
        // The chain rule through the softmax: the derivative of the log-probability of `word` with respect to the logit
        // of `other`.
        for (other, logit) in updated.iter_mut().enumerate() {
            let slope = f64::from(u8::from(other == word)) - current[other].exp();
            *logit -= LEARNING_RATE * scale * term.gradient[0] * slope;
        }
    }
    Ok((loss, updated))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let logits = [0.0; 4];
    let old = log_softmax(logits);

    // Rewards 0.5, 1, 0, 0: mean 0.375, deviation 0.4146, so advantages 0.3014, 1.5072, −0.9043, −0.9043.
    let (loss, logits) = step(logits, old)?;
    assert!(loss.abs() < 1e-7, "advantages sum to zero, and so does the loss of a first step: {loss}");
    let expected = [0.075360, 0.376798, -0.226079, -0.226079]; // a quarter of each advantage
    for (logit, expected) in logits.iter().zip(expected) {
        assert!((logit - expected).abs() < 1e-6, "{logits:?}, expected {expected}");
    }

    // Ratios 1.044, 1.411, 0.772, 0.772: all but the first are clipped, to 1.28 and 0.8.
    let (loss, _) = step(logits, old)?;
    assert!((loss - -0.199253).abs() < 1e-6, "the second step improves on the group: {loss}");
    println!("log-probabilities {:.3?}, loss {loss:.6}", log_softmax(logits));
    Ok(())
}
