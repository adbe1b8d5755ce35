//! Makes the tables and curves of `docs/results.md`.
//!
//! ```text
//! cargo run --release --example results
//! ```
//!
//! A run that is already in the runs folder is not repeated, so this program can be stopped and restarted; a new model or dataset
//! needs a new folder. Processes that are given different variants can share the work.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use grpo::Paper;
use grpo_examples::plot::{Curves, svg};
use grpo_examples::study::{Plan, Run, Subject, TestResult, Variant};
use grpo_files::{sha256_of, write_bytes};

/// Train a model in several ways and seeds; print a table and, of the embedded model, draw curves.
#[derive(Parser)]
struct Args {
    /// TOML file of a run, in place of the embedded model and problems.
    #[arg(long)]
    config: Option<PathBuf>,
    /// This variant (may be given again) in place of those that are drawn.
    #[arg(long)]
    variant: Vec<Variant>,
    /// This recipe (may be given again), likewise.
    #[arg(long, alias = "objective", value_parser = grpo_cli::args::paper)]
    recipe: Vec<Paper>,
    /// Seeds of each variant.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Steps of a run, in place of those of its configuration.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Steps between tests.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// The folder of runs.
    #[arg(long, default_value = "runs/results")]
    runs: PathBuf,
    /// The folder of pictures.
    #[arg(long, default_value = "docs/results")]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    grpo_cli::allocator::keep_memory();
    let args = Args::parse();
    let recipes = args.recipe.iter().copied().map(Variant::Of);
    let mut variants: Vec<Variant> = recipes.chain(args.variant.iter().copied()).collect();
    let draws = variants.is_empty() && args.config.is_none();
    if variants.is_empty() {
        variants = Variant::DRAWN.to_vec();
    }
    std::fs::create_dir_all(&args.runs)?;
    let mut all = Vec::new();
    for variant in variants {
        let runs =
            (0..args.seeds).map(|seed| run(variant, seed, &args)).collect::<anyhow::Result<Vec<Run>>>()?;
        all.push((variant, runs));
    }
    let tests: Vec<&str> = first_scores(&all[0].1[0]).map(|score| score.test.as_str()).collect();
    for test in &tests {
        println!("\n{}", table(test, &all));
    }
    if draws {
        draw(&args.out, tests[0], &all)?;
    }
    Ok(())
}

/// The run of a variant and seed: read, if it is there.
fn run(variant: Variant, seed: u64, args: &Args) -> anyhow::Result<Run> {
    let name = variant.name();
    let (subject, task) = match &args.config {
        None => (Subject::Embedded, String::new()),
        Some(path) => {
            let text = std::fs::read(path).with_context(|| path.display().to_string())?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            (Subject::File(path.clone()), format!("{name}-{}-", &sha256_of(&text)[..8]))
        }
    };
    let steps = args.steps.map_or_else(|| subject.steps(), Ok)?;
    let path = args.runs.join(format!("{task}{name}-{steps}-{}-{seed}.json", args.every));
    if path.exists() {
        return serde_json::from_slice(&std::fs::read(&path)?).context(path.display().to_string());
    }
    let plan = Plan { steps, every: args.every, problems: usize::MAX };
    let run = variant.run(&subject, seed, &plan)?;
    eprintln!("{name}, seed {seed}: {:.0} s of training", run.seconds);
    write_bytes(&path, serde_json::to_vec(&run)?)?;
    Ok(run)
}

fn first_scores(run: &Run) -> impl Iterator<Item = &TestResult> {
    run.scores.iter().filter(|score| score.step == 0)
}

/// A line for every run, in Markdown.
fn table(test: &str, all: &[(Variant, Vec<Run>)]) -> String {
    let mut table = format!(
        "| {test} | seed | correct before | correct after | points | format before | after | KL | tokens | training |\n\
         |---|---|---|---|---|---|---|---|---|---|"
    );
    for (variant, runs) in all {
        for run in runs {
            let of_test = || run.scores.iter().filter(|score| score.test == test);
            let (Some(before), Some(after)) = (of_test().next(), of_test().next_back()) else { continue };
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            let kl = run.kl.map_or("–".to_string(), |kl| format!("{kl:.3}"));
            let tokens = |length: Option<&f64>| length.map_or("–".to_string(), |n| format!("{n:.0}"));
            table += &format!(
                "\n| {} | {} | {} | {} | {:+.1} | {} | {} | {kl} | {} → {} | {:.0} s |",
                variant.title(),
                run.seed,
                before.correct,
                after.correct,
                100.0 * (after.correct.value() - before.correct.value()),
                percent(before.format.value()),
                percent(after.format.value()),
                tokens(run.lengths.first()),
                tokens(run.lengths.last()),
                run.seconds,
            );
        }
    }
    table
}

fn draw(out: &Path, test: &str, all: &[(Variant, Vec<Run>)]) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    let curves = |points: &dyn Fn(&Run) -> Vec<(f64, f64)>| -> Vec<Curves> {
        let curves = |(variant, runs): &(Variant, Vec<Run>)| Curves {
            name: variant.title(),
            runs: runs.iter().map(points).collect(),
        };
        all.iter().map(curves).collect()
    };
    let by_step = |values: &[f64]| values.iter().enumerate().map(|(i, v)| ((i + 1) as f64, *v)).collect();
    let correct = curves(&|run| {
        let scores = run.scores.iter().filter(|score| score.test == test);
        scores.map(|score| (score.step as f64, 100.0 * score.correct.value())).collect()
    });
    svg(&out.join("accuracy.svg"), &format!("Greedy accuracy, {test}"), "% correct", &correct)?;
    let rewards = curves(&|run| by_step(&run.rewards));
    svg(&out.join("reward.svg"), "Reward of sampled completions", "mean reward", &rewards)?;
    let lengths = curves(&|run| by_step(&run.lengths));
    svg(&out.join("length.svg"), "Length of sampled completions", "mean tokens", &lengths)
}
