//! Measures a model on held-out problems, and compares two.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use grpo::evaluation::{
    Accuracy, Estimate, Evaluate, EvaluationConfig, PairedComparison, PairedMeasure, Progress, Results,
    is_evaluation_folder,
};
use grpo::{DeviceKind, Hub, Interrupt, Sampling, Split, resolve_model};
use indicatif::{ProgressBar, ProgressStyle};

use crate::train::{on_interrupt, show_transfer};
use crate::{display, say};

/// Completions that are decoded together by default.
const BATCH_ROWS: usize = 32;
/// Discordant problems that are listed; all are in comparison.json.
const LISTED: usize = 10;

/// Measure a model on held-out problems: strict accuracy (as the reward has it), lenient accuracy (the last number), format,
/// length and truncation, with 95 % intervals. Interrupted, it continues with the same --out.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Model: a folder in Hugging Face layout, or a Hub id; or the folder of an evaluation, to show and compare it.
    model: String,
    /// Adapters in PEFT format.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<String>,
    /// Compare with another model, or with the folder of another evaluation.
    #[arg(long, value_name = "MODEL")]
    against: Option<String>,
    /// Adapters of the other model.
    #[arg(long, value_name = "FOLDER", requires = "against")]
    against_adapter: Option<String>,
    /// Problems: a Parquet or JSONL file, a folder of them, or a Hub id.
    #[arg(long, default_value = "openai/gsm8k")]
    dataset: String,
    /// Split that is answered.
    #[arg(long, value_enum, default_value_t = SplitName::Test)]
    split: SplitName,
    /// Answer only the first problems of the split.
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    limit: Option<usize>,
    /// Put this many solved examples of the training split before every question.
    #[arg(long, value_name = "N", default_value_t = 0)]
    few_shot: usize,
    /// Completions per problem, for pass@k, mean@k and maj@k; one is greedy.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = at_least_1)]
    samples: usize,
    /// Sampling temperature [default: 0 for one completion per problem, 1 for several].
    #[arg(long)]
    temperature: Option<f32>,
    /// Maximum tokens per completion.
    #[arg(long, value_name = "TOKENS", default_value_t = 256, value_parser = at_least_1)]
    max_completion_length: usize,
    /// System prompt before every question [default: the one that asks for the format of the rewards].
    #[arg(long, value_name = "TEXT")]
    system_prompt: Option<String>,
    /// Seed of the examples and of every sampled token.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu, metal, vulkan, webgpu or cuda.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Completions that are decoded together.
    #[arg(long, value_name = "N", default_value_t = BATCH_ROWS, value_parser = at_least_1)]
    batch_rows: usize,
    /// Folder of the evaluation [default: evaluations/DATE-TIME].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitName {
    Train,
    Test,
}

fn at_least_1(text: &str) -> Result<usize, String> {
    let n = text.parse().ok().filter(|n| *n > 0);
    n.ok_or_else(|| "it must be a number, at least 1".to_string())
}

/// Evaluates one model or two, or shows evaluations.
pub fn evaluate(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::default();
    on_interrupt(interrupt.clone())?;
    let out = args.out.clone().unwrap_or_else(|| {
        Path::new("evaluations").join(chrono::Local::now().format("%Y-%m-%d_%H-%M-%S").to_string())
    });
    let Some(first) = folder_of(args, &args.model, args.adapter.as_ref(), out, &interrupt)? else {
        return Ok(ExitCode::from(130));
    };
    let Some(other) = &args.against else { return Ok(ExitCode::SUCCESS) };
    let out = first.join("against");
    let Some(second) = folder_of(args, other, args.against_adapter.as_ref(), out, &interrupt)? else {
        return Ok(ExitCode::from(130));
    };
    let comparison = PairedComparison::read(&first, &second)?;
    say!("{}", compared(&comparison));
    let file = comparison.write(&first)?;
    say!("All discordant problems, with both completions: {}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// The folder of a model's evaluation, which is done first unless `model` is one; none if interrupted.
fn folder_of(
    args: &EvaluateArgs,
    model: &str,
    adapter: Option<&String>,
    out: PathBuf,
    interrupt: &Interrupt,
) -> anyhow::Result<Option<PathBuf>> {
    if is_evaluation_folder(Path::new(model)) {
        let results = Results::read(Path::new(model))?;
        say!("{model}:\n{}", shown(&results));
        return Ok(Some(PathBuf::from(model)));
    }
    let temperature = args.temperature.unwrap_or(if args.samples == 1 { 0.0 } else { 1.0 });
    let defaults = EvaluationConfig::default();
    let config = EvaluationConfig {
        model: model.to_string(),
        adapter: adapter.cloned(),
        dataset: args.dataset.clone(),
        split: match args.split {
            SplitName::Train => Split::Train,
            SplitName::Test => Split::Test,
        },
        limit: args.limit,
        system_prompt: args.system_prompt.clone().unwrap_or(defaults.system_prompt),
        few_shot: args.few_shot,
        samples: args.samples,
        sampling: Sampling { temperature, ..Sampling::default() },
        max_completion_length: args.max_completion_length,
        seed: args.seed,
    };
    config.validate()?;
    let hub = Hub::from_env()?.with_progress(show_transfer());
    let folder = resolve_model(model, &hub)?;
    let questions = config.questions(&hub)?;
    let evaluate = Evaluate {
        config: &config,
        model: &folder,
        questions: &questions,
        device: args.device,
        batch_rows: args.batch_rows,
    };
    let adapter = adapter.map_or(String::new(), |adapter| format!(" with {adapter}"));
    say!("{model}{adapter} on {} problems of {}; files in {}", questions.len(), args.dataset, out.display());
    let bar = Bar::new();
    let results = evaluate.run(&out, interrupt, |progress| bar.show(progress))?;
    bar.0.finish_and_clear();
    match results {
        Some(results) => say!("{}", shown(&results)),
        None => {
            say!(
                "Interrupted: what was answered is kept. Repeat the command with --out '{}' to continue.",
                out.display()
            );
            return Ok(None);
        }
    }
    Ok(Some(out))
}

/// How far an evaluation is.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::no_length();
        bar.enable_steady_tick(Duration::from_secs(1));
        Self(bar)
    }

    fn show(&self, Progress { done, of, strict, lenient }: Progress) {
        let Self(bar) = self;
        if bar.length().is_none() {
            // What an earlier process has answered says nothing about the speed of this one.
            bar.set_length(of as u64);
            bar.set_position(done as u64);
            bar.reset_eta();
            bar.set_style(style("{elapsed} elapsed"));
        } else {
            bar.set_style(style("{elapsed} elapsed, {eta} left"));
            bar.set_position(done as u64);
        }
        if done > 0 {
            let percent = |n: usize| 100.0 * n as f64 / done as f64;
            bar.set_message(format!("strict {:.1} %, lenient {:.1} %", percent(strict), percent(lenient)));
        }
    }
}

fn style(times: &str) -> ProgressStyle {
    let template = format!("{{bar:30}} {{pos}}/{{len}} completions, {{msg}}, {times}");
    ProgressStyle::with_template(&template).expect("the template is valid")
}

/// Results, line by line.
fn shown(results: &Results) -> String {
    let samples = results.config.samples;
    let mut lines = Vec::new();
    for (name, accuracy) in [("strict accuracy", &results.strict), ("lenient accuracy", &results.lenient)] {
        lines.push((name.to_string(), percent(&accuracy.accuracy)));
        let Accuracy { pass_at, majority, .. } = accuracy;
        lines.extend(pass_at.iter().skip(1).map(|(k, estimate)| (format!("  pass@{k}"), percent(estimate))));
        lines.extend(majority.iter().map(|estimate| (format!("  maj@{samples}"), percent(estimate))));
    }
    lines.push(("in the format".to_string(), percent(&results.format)));
    lines.push(("truncated".to_string(), percent(&results.truncated)));
    let Estimate { value, low, high } = results.tokens;
    lines.push(("tokens per completion".to_string(), format!("{value:.1} [{low:.1}, {high:.1}]")));
    let of = if samples == 1 { String::new() } else { format!(" x {samples} completions") };
    let mut text =
        format!("{} problems{of}, {:.1} minutes; 95 % intervals", results.problems, results.seconds / 60.0);
    for (name, value) in lines {
        text += &format!("\n  {name:<24}{value}");
    }
    text
}

fn percent(Estimate { value, low, high }: &Estimate) -> String {
    let [value, low, high] = [value, low, high].map(|x| 100.0 * x);
    format!("{value:.1} % [{low:.1}, {high:.1}]")
}

/// A comparison, measure by measure.
fn compared(PairedComparison { results, measures }: &PairedComparison) -> String {
    let of = |i: usize, name: &str| {
        let accuracy = if name == "strict" { &results[i].strict } else { &results[i].lenient };
        percent(&accuracy.accuracy)
    };
    let mut text = format!("{:<10}{:<24}{:<24}difference", "", "first", "second");
    for PairedMeasure { name, difference, test, better, worse } in measures {
        let Estimate { value, low, high } = difference;
        text += &format!(
            "\n{name:<10}{:<24}{:<24}{:+.1} points [{:+.1}, {:+.1}]",
            of(0, name),
            of(1, name),
            100.0 * value,
            100.0 * low,
            100.0 * high
        );
        text += &format!("; {} problems better, {} worse", better.len(), worse.len());
        if let Some((_, p)) = test {
            text += &format!(", McNemar p = {}", p_value(*p));
        }
    }
    for PairedMeasure { name, better, worse, .. } in measures {
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
