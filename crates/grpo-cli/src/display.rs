//! Formats a run's steps and results for display.

use grpo::{Evaluated, Experiences, Metrics, Question, Times, Truth};

/// Characters of a response to show.
const HEAD: usize = 300;

/// A step in a few lines: metrics, and for its first problem the question, the gold answer, the start of a response and the
/// group's rewards.
pub fn step<T: Truth>(
    metrics: &Metrics,
    times: &Times,
    steps: u64,
    experiences: &Experiences,
    question: &Question<T>,
) -> String {
    let group = &experiences.groups[0];
    let response = &group.completions[0].scored.completion.text;
    let rewards: Vec<String> =
        group.completions.iter().map(|e| format!("{:.2}", e.scored.scores.total)).collect();
    let kl = metrics.kl.map_or(String::new(), |kl| format!(" | KL: {}", number(kl)));
    let skipped = match metrics.skipped_steps {
        0 => String::new(),
        n => format!(" | not finite, so no weight was changed ({n} in a row)"),
    };
    format!(
        "Step {}/{steps} | Loss: {} | Mean Reward: {}{kl} | Tokens: {:.0} | Truncated: {:.0} % | {:.1} s{skipped}\n  \
         Question: {}\n  Gold answer: {}\n  Sample response: {}\n  Sample rewards: [{}]",
        metrics.step,
        number(metrics.loss),
        number(metrics.reward),
        metrics.completions_mean_length,
        100.0 * metrics.completions_clipped_ratio,
        times.step_time,
        head(question.text()),
        truth(&question.truth),
        head(response),
        rewards.join(", "),
    )
}

/// Four decimals; no negative zero.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    if text == "-0.0000" { "0.0000".to_string() } else { text }
}

/// A truth in readable form.
pub fn truth<T: Truth>(truth: &T) -> String {
    match serde_json::to_value(truth) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(_) => format!("{truth:?}"),
    }
}

/// The first characters of a text on one line.
pub fn head(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(HEAD) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// For each reward, the share of completions that earned something.
pub fn shares(evaluated: &Evaluated) -> String {
    let shares = evaluated.rewarded.iter().map(|reward| format!("{} {}", reward.name, reward.share));
    shares.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_no_sign() {
        assert_eq!([number(-1e-9), number(-0.25), number(1e-9)], ["0.0000", "-0.2500", "0.0000"]);
    }
}
