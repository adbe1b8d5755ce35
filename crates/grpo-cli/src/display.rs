//! Formats a run's steps and results for display.

use grpo::{Evaluated, Experiences, Metrics, Question, ServerReport, Times, Truth};
use serde_json::Value;

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
        truth(&question.recorded_truth()),
        head(response),
        rewards.join(", "),
    )
}

/// Steps whose rewards are drawn.
const DRAWN: usize = 30;

/// The figures of the last step below a progress bar, a line each, with the mean rewards of the last steps and the first of the
/// highest of all.
pub fn figures(metrics: &Metrics, times: &Times, rewards: &[(u64, f64)]) -> String {
    let higher = |best: (u64, f64), next: &(u64, f64)| if next.1 > best.1 { *next } else { best };
    let (best, highest) = rewards.iter().fold((metrics.step, metrics.reward), higher);
    let highest = format!("highest {highest:.2} in step {best}");
    let last: Vec<f64> =
        rewards[rewards.len().saturating_sub(DRAWN)..].iter().map(|(_, reward)| *reward).collect();
    let drawn = sparkline(&last);
    let mut figures = format!("\nreward  {:>8.2}  {drawn}  {highest}", metrics.reward);
    figures += &format!(
        "\ntokens  {:>8.0}  truncated {:.0} %, {:.0} tokens/s",
        metrics.completions_mean_length,
        100.0 * metrics.completions_clipped_ratio,
        times.tokens_per_second
    );
    if let Some(kl) = metrics.kl {
        figures += &format!("\nKL      {:>8}", number(kl));
    }
    figures
}

/// Numbers as bars, from the lowest of them to the highest.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let bar =
        |value: &f64| BARS[((value - low) / (high - low).max(f64::MIN_POSITIVE) * 7.0).round() as usize % 8];
    values.iter().map(bar).collect()
}

/// What a server has sampled for a step, in which sampling took as long as `times` says.
pub fn server(report: &ServerReport, times: &Times) -> String {
    let ServerReport { url, groups, tokens } = report;
    let rate = *tokens as f64 / times.time_generate.max(f64::MIN_POSITIVE);
    format!("{url}: {groups} groups, {tokens} tokens, {rate:.0} tokens/s")
}

/// A text with what would control a terminal made visible.
pub fn visible(text: &str) -> String {
    let controls = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown = |c: char| if controls(&c) { format!("⟨U+{:04X}⟩", c as u32) } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// Four decimals; no negative zero.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    if text == "-0.0000" { "0.0000".to_string() } else { text }
}

/// A recorded truth in readable form.
pub fn truth(truth: &Value) -> String {
    visible(&truth.as_str().map_or_else(|| truth.to_string(), str::to_owned))
}

/// The first characters of a text on one line.
pub fn head(text: &str) -> String {
    let line = visible(&text.split_whitespace().collect::<Vec<_>>().join(" "));
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
    fn rewards_are_drawn_from_the_lowest_to_the_highest() {
        assert_eq!(sparkline(&[0.0, 0.5, 1.0, 0.25]), "▁▅█▃");
        assert_eq!(sparkline(&[0.5, 0.5]), "▁▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[f64::NAN, 1.0]).chars().count(), 2);
    }

    #[test]
    fn a_completion_does_not_control_the_terminal() {
        assert_eq!(head("\u{1b}[31mred \u{202e}x\n\u{7}é"), "⟨U+001B⟩[31mred ⟨U+202E⟩x ⟨U+0007⟩é");
    }

    #[test]
    fn nothing_has_no_sign() {
        assert_eq!([number(-1e-9), number(-0.25), number(1e-9)], ["0.0000", "-0.2500", "0.0000"]);
    }
}
