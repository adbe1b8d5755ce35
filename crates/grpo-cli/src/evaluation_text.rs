//! Formats the results of evaluations for display.

use grpo::evaluation::{Accuracy, Estimate, Measure, PairedComparison, PairedMeasure, Results};

use crate::display;

/// Discordant problems that are listed; all are in comparison.json.
const LISTED: usize = 10;

/// Results, line by line.
pub(crate) fn results(results: &Results) -> String {
    let samples = results.config.samples;
    let mut lines = Vec::new();
    // Of no meaning where a right answer is something other than the truth.
    let lenient = Some(&results.lenient).filter(|_| results.config.answer_is_truth());
    let strict = match results.outcome.as_deref() {
        None | Some("correctness") => "strict accuracy".to_string(),
        Some(name) => format!("strict accuracy ({name})"),
    };
    let accuracies = [(strict, Some(&results.strict)), ("lenient accuracy".to_string(), lenient)];
    for (name, accuracy) in accuracies.into_iter().filter_map(|(name, accuracy)| Some((name, accuracy?))) {
        lines.push((name, percent(&accuracy.accuracy)));
        let Accuracy { pass_at, majority, .. } = accuracy;
        lines.extend(pass_at.iter().skip(1).map(|(k, estimate)| (format!("  pass@{k}"), percent(estimate))));
        lines.extend(majority.iter().map(|estimate| (format!("  maj@{samples}"), percent(estimate))));
    }
    lines.push(("in the format".to_string(), percent(&results.format)));
    lines.push(("truncated".to_string(), percent(&results.truncated)));
    let Estimate { value, low, high } = results.tokens;
    lines.push(("tokens per completion".to_string(), format!("{value:.1} [{low:.1}, {high:.1}]")));
    let width = lines.iter().map(|(name, _)| name.len() + 2).fold(24, usize::max);
    let of = if samples == 1 { String::new() } else { format!(" x {samples} completions") };
    let mut text =
        format!("{} problems{of}, {:.1} minutes; 95 % intervals", results.problems, results.seconds / 60.0);
    for (name, value) in lines {
        text += &format!("\n  {name:<width$}{value}");
    }
    text
}

fn percent(Estimate { value, low, high }: &Estimate) -> String {
    let [value, low, high] = [value, low, high].map(|x| 100.0 * x);
    format!("{value:.1} % [{low:.1}, {high:.1}]")
}

/// A comparison, measure by measure.
pub(crate) fn comparison(PairedComparison { results, measures }: &PairedComparison) -> String {
    let of = |i: usize, measure: Measure| percent(&results[i].accuracy(measure).accuracy);
    let mut text = format!("{:<10}{:<24}{:<24}difference", "", "first", "second");
    // The lenient measure is of no meaning where a right answer is something other than the truth.
    let has_meaning =
        |measure: &&PairedMeasure| measure.measure == Measure::Strict || results[0].config.answer_is_truth();
    for PairedMeasure { measure, difference, test, better, worse } in measures.iter().filter(has_meaning) {
        let name = measure.name();
        let Estimate { value, low, high } = difference;
        text += &format!(
            "\n{name:<10}{:<24}{:<24}{:+.1} points [{:+.1}, {:+.1}]",
            of(0, *measure),
            of(1, *measure),
            100.0 * value,
            100.0 * low,
            100.0 * high
        );
        text += &format!("; {} problems better, {} worse", better.len(), worse.len());
        if let Some((_, p)) = test {
            text += &format!(", McNemar p = {}", p_value(*p));
        }
    }
    for PairedMeasure { measure, better, worse, .. } in measures.iter().filter(has_meaning) {
        let name = measure.name();
        for (what, problems) in [("better", better), ("worse", worse)] {
            if problems.is_empty() {
                continue;
            }
            text += &format!("\n{name}, {what} by the first:");
            for problem in problems.iter().take(LISTED) {
                text += &format!("\n  {:>5}  {}", problem.problem, display::head(&problem.question));
            }
            if problems.len() > LISTED {
                text += &format!("\n  and {} more", problems.len() - LISTED);
            }
        }
    }
    text
}

fn p_value(p: f64) -> String {
    if p < 1e-3 { format!("{p:.1e}") } else { format!("{p:.3}") }
}
