//! What a person sees of a run.

use grpo_data::Example;
use grpo_trainer::{Evaluation, Experiences, Metrics, Times};

/// Characters of a response that are shown.
const HEAD: usize = 300;

/// A step in a few lines: figures, and of its first problem the question, the gold answer, the head of a response and the
/// group's rewards.
pub fn step(
    metrics: &Metrics,
    times: &Times,
    steps: u64,
    experiences: &Experiences,
    first: &Example,
) -> String {
    let group = &experiences.groups[0];
    let response = &group.completions[0].scored.completion.text;
    let rewards: Vec<String> =
        group.completions.iter().map(|e| format!("{:.2}", e.scored.scores.total)).collect();
    let kl = metrics.kl.map_or(String::new(), |kl| format!(" | KL: {kl:.4}"));
    let skipped = match metrics.skipped_steps {
        0 => String::new(),
        n => format!(" | not finite, so nothing was changed ({n} in a row)"),
    };
    format!(
        "Step {}/{steps} | Loss: {:.4} | Mean Reward: {:.4}{kl} | Tokens: {:.0} | Cut off: {:.0} % | {:.1} s{skipped}\n  Question: {}\n  Gold answer: {}\n  Sample response: {}\n  \
         Sample rewards: [{}]",
        metrics.step,
        metrics.loss,
        metrics.reward,
        metrics.completions_mean_length,
        100.0 * metrics.completions_clipped_ratio,
        times.step_time,
        head(&first.question),
        first.truth,
        head(response),
        rewards.join(", "),
    )
}

/// The first characters of a text on one line.
pub fn head(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(HEAD) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// What share of completions each reward gave anything.
pub fn shares(evaluation: &Evaluation) -> String {
    let shares = evaluation.rewarded.iter().map(|(name, share)| format!("{name} {share}"));
    shares.collect::<Vec<_>>().join(", ")
}
