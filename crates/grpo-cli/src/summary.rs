//! The report at the end of a run: table, plot and example answers.

use console::{Alignment, measure_text_width, pad_str};
use grpo::Comparison;
use textplots::{Chart, Plot, Shape};

use crate::display::visible;

/// Width of a column of answers.
const COLUMN: usize = 44;
/// Dots in the plot; a character is 2 dots wide and 4 high.
const PLOT: (u32, u32) = (120, 40);

/// For each reward, the share of completions that earned something, before and after, with Wilson 95 % intervals.
pub fn table(comparisons: &[Comparison]) -> String {
    let mut rows = Vec::new();
    for Comparison { before, after } in comparisons {
        for (was, is) in before.rewarded.iter().zip(&after.rewarded) {
            rows.push((
                format!("{}, {}", before.test, was.name),
                was.share.to_string(),
                is.share.to_string(),
            ));
        }
    }
    let longest = rows.iter().map(|(row, ..)| measure_text_width(row)).max().unwrap_or_default();
    let width = 30.max(longest + 2);
    let mut table = format!("{:width$}{:<36}after", "", "before");
    for (row, was, is) in rows {
        table += &format!("\n{}{was:<36}{is}", pad_str(&row, width, Alignment::Left, None));
    }
    table
}

/// The mean reward of every step.
pub fn plot(rewards: &[f64]) -> String {
    let points: Vec<(f32, f32)> =
        rewards.iter().enumerate().map(|(i, reward)| ((i + 1) as f32, *reward as f32)).collect();
    let (low, high) = points.iter().fold((f32::MAX, f32::MIN), |(l, h), (_, y)| (l.min(*y), h.max(*y)));
    // A flat line also needs some height.
    let margin = 0.05_f32.max(0.05 * (high - low));
    let (low, high) = (low - margin, high + margin);
    let lines = Shape::Lines(&points);
    let mut chart = Chart::new_with_y_range(PLOT.0, PLOT.1, 1.0, (points.len() as f32).max(2.0), low, high);
    let chart = chart.lineplot(&lines);
    chart.axis();
    chart.figures();
    format!("Mean reward by step\n{chart}")
}

/// Two texts side by side.
pub fn side_by_side(before: &str, after: &str) -> String {
    let (left, right) = (column("before", before), column("after", after));
    let rows = left.len().max(right.len());
    let line = |lines: &[String], i: usize| lines.get(i).cloned().unwrap_or_default();
    let row =
        |i| format!("  {} | {}", pad_str(&line(&left, i), COLUMN, Alignment::Left, None), line(&right, i));
    (0..rows).map(row).map(|row| row.trim_end().to_string()).collect::<Vec<_>>().join("\n")
}

/// A heading and a text, wrapped to the column.
fn column(heading: &str, text: &str) -> Vec<String> {
    let mut lines = vec![heading.to_string(), "-".repeat(heading.len())];
    for line in visible(text).lines() {
        lines.push(String::new());
        let mut width = 0;
        for character in line.chars() {
            let of_this = measure_text_width(character.encode_utf8(&mut [0; 4]));
            if width + of_this > COLUMN {
                lines.push(String::new());
                width = 0;
            }
            width += of_this;
            lines.last_mut().expect("a line was begun").push(character);
        }
    }
    lines
}

/// The problem to show, and why: the first whose answer training corrected in the same format, or corrected at all, or else
/// the first.
pub fn example(comparison: &Comparison) -> (usize, &'static str) {
    let Comparison { before, after } = comparison;
    let Some(right) = before.rewarded.first().map(|reward| &reward.name) else { return (0, FIRST) };
    let learned = |i: &usize| before.completions[*i].rewards[right] < after.completions[*i].rewards[right];
    let form = |of: &grpo::CompletionRecord| -> Vec<f32> {
        of.rewards.iter().filter(|(name, _)| *name != right).map(|(_, reward)| *reward).collect()
    };
    let in_form = |i: &usize| form(&before.completions[*i]) == form(&after.completions[*i]);
    let learned = (0..before.completions.len()).filter(learned);
    match learned.clone().find(in_form).or(learned.clone().next()) {
        Some(i) => (i, "A problem that the model learned to solve"),
        None => (0, FIRST),
    }
}

const FIRST: &str = "The first problem (the model learned to solve none)";

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
    fn columns_align_with_wide_characters() {
        let shown = side_by_side(&"漢".repeat(COLUMN / 2 + 1), "one\ntwo");
        let bars = shown.lines().map(|line| measure_text_width(line.split_once('|').unwrap().0));
        assert!(bars.clone().all(|width| width == COLUMN + 3), "{shown}");
        assert_eq!(bars.count(), 4);
    }

    #[test]
    fn a_plot_of_anything_is_drawn() {
        for rewards in [&[][..], &[1.0], &[0.0, 0.0], &[0.5, 2.5, 1.0]] {
            assert!(plot(rewards).lines().count() > 5);
        }
        assert!(plot(&[0.5, 2.5, 1.0]).contains("2.6"));
    }
}
