//! What a run has changed: the table, the plot and the answers at its end.

use grpo_trainer::Evaluation;
use serde::Serialize;
use textplots::{Chart, Plot, Shape};

/// Characters of a column of answers.
const COLUMN: usize = 44;
/// Dots of the plot; a character is 2 of them wide and 4 high.
const PLOT: (u32, u32) = (120, 40);

/// How some test problems were answered before and after training.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What the problems are called.
    pub name: String,
    /// Before training.
    pub before: Evaluation,
    /// After training.
    pub after: Evaluation,
}

/// The share of completions that each reward gave anything, before and after, with Wilson's 95 % intervals.
pub fn table(comparisons: &[Comparison]) -> String {
    let mut table = format!("{:<30}{:<36}{}", "", "before", "after");
    for Comparison { name, before, after } in comparisons {
        for ((reward, before), (_, after)) in before.rewarded.iter().zip(&after.rewarded) {
            let row = format!("{name}, {reward}");
            table += &format!("\n{row:<30}{:<36}{after}", before.to_string());
        }
    }
    table
}

/// The mean reward of every step.
pub fn plot(rewards: &[f64]) -> String {
    let points: Vec<(f32, f32)> =
        rewards.iter().enumerate().map(|(i, reward)| ((i + 1) as f32, *reward as f32)).collect();
    let (low, high) = points.iter().fold((f32::MAX, f32::MIN), |(l, h), (_, y)| (l.min(*y), h.max(*y)));
    // A flat line needs some height, too.
    let margin = 0.05_f32.max(0.05 * (high - low));
    let (low, high) = (low - margin, high + margin);
    let lines = Shape::Lines(&points);
    let mut chart = Chart::new_with_y_range(PLOT.0, PLOT.1, 1.0, (points.len() as f32).max(2.0), low, high);
    let chart = chart.lineplot(&lines);
    chart.axis();
    chart.figures();
    format!("Mean reward by step\n{chart}")
}

/// Two texts beside each other.
pub fn side_by_side(before: &str, after: &str) -> String {
    let (left, right) = (column("before", before), column("after", after));
    let rows = left.len().max(right.len());
    let line = |lines: &[String], i: usize| lines.get(i).cloned().unwrap_or_default();
    let rows = (0..rows).map(|i| format!("  {:<COLUMN$} | {}", line(&left, i), line(&right, i)));
    rows.map(|row| row.trim_end().to_string()).collect::<Vec<_>>().join("\n")
}

/// A heading and a text, in lines that fit.
fn column(heading: &str, text: &str) -> Vec<String> {
    let wrapped = text.lines().flat_map(|line| {
        let characters: Vec<char> = line.chars().collect();
        characters.chunks(COLUMN).map(|part| part.iter().collect()).collect::<Vec<String>>()
    });
    [heading.to_string(), "-".repeat(heading.len())].into_iter().chain(wrapped).collect()
}

/// The problem to show, and why: the first whose answer training made right in the same form, or right at all, or else the first.
pub fn example(comparison: &Comparison) -> (usize, &'static str) {
    let each = |evaluation: &Evaluation, i: usize| evaluation.completions[i].1.each.clone();
    let n = comparison.before.completions.len();
    let learned = (0..n).filter(|i| each(&comparison.before, *i)[0] < each(&comparison.after, *i)[0]);
    let in_form = |i: &usize| each(&comparison.before, *i)[1..] == each(&comparison.after, *i)[1..];
    match learned.clone().find(in_form).or(learned.clone().next()) {
        Some(i) => (i, "A problem that training made right"),
        None => (0, "The first problem (training made none right)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_beside_each_other_and_long_lines_are_wrapped() {
        let shown = side_by_side("one\ntwo", &"x".repeat(COLUMN + 1));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[2].starts_with("  one ") && lines[2].ends_with(&"x".repeat(COLUMN)));
        assert!(lines[3].starts_with("  two ") && lines[3].ends_with("| x"));
    }

    #[test]
    fn a_plot_of_anything_is_drawn() {
        for rewards in [&[][..], &[1.0], &[0.0, 0.0], &[0.5, 2.5, 1.0]] {
            assert!(plot(rewards).lines().count() > 5);
        }
        assert!(plot(&[0.5, 2.5, 1.0]).contains("2.6"));
    }
}
