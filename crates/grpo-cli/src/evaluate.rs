//! Measures a model on held-out problems, and compares two.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use grpo::evaluation::{EvaluationConfig, Evaluator, PairedComparison, Progress, Results, is_evaluation};
use grpo::grpo_data::Truth;
use grpo::grpo_qwen2::ChatTemplate;
use grpo::{
    Columns, DeviceKind, Hub, Interrupt, RewardConfig, RunConfig, Sampling, TaskConfig, resolve_model,
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::at_least_1;
use crate::train::{new_folder, on_interrupt, show_transfer};
use crate::{evaluation_text, say};

/// Completions that are decoded together by default.
const BATCH_ROWS: u64 = 32;

/// Measure a model on held-out problems: strict accuracy (what the reward of the largest weight pays for), lenient accuracy (the last
/// number), format, length and truncation, with 95 % intervals. Interrupted, it continues with the same --out.
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
    /// TOML file of a run: its dataset, columns, system prompt, enable_thinking, rewards, length of completions and held-out problems
    /// are the defaults here.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Problems: a Parquet, JSONL or CSV file, a folder of them, or a Hub id [default: openai/gsm8k].
    #[arg(long)]
    dataset: Option<String>,
    /// Name of the column of questions [default: question].
    #[arg(long, value_name = "NAME")]
    question_column: Option<String>,
    /// Name of the column of answers [default: answer].
    #[arg(long, value_name = "NAME")]
    answer_column: Option<String>,
    /// What of an answer is compared: what follows ####, all of it, or the last \boxed{…} [default: hashes].
    #[arg(long, value_enum)]
    truth: Option<TruthName>,
    /// The same by a regular expression: its last match, or the first group of it.
    #[arg(long, value_name = "REGEX", conflicts_with = "truth")]
    truth_pattern: Option<String>,
    /// Split that is answered [default: test].
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Answer only the first problems of the split.
    #[arg(long, value_name = "N", value_parser = at_least_1())]
    limit: Option<u64>,
    /// Put this many solved examples of the training split before every question.
    #[arg(long, value_name = "N", default_value_t = 0)]
    few_shot: usize,
    /// Completions per problem, for pass@k, mean@k and maj@k; one is greedy.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = at_least_1())]
    samples: u64,
    /// Sampling temperature [default: 0 for one completion per problem, 1 for several].
    #[arg(long)]
    temperature: Option<f32>,
    /// Maximum tokens per completion [default: 256].
    #[arg(long, value_name = "TOKENS", value_parser = at_least_1())]
    max_completion_length: Option<u64>,
    /// System prompt before every question [default: the one that asks for the format of the rewards].
    #[arg(long, value_name = "TEXT")]
    system_prompt: Option<String>,
    /// Whether the model reasons first, if its chat template has a choice (Qwen3) [default: the template decides].
    #[arg(long, value_name = "BOOL")]
    enable_thinking: Option<bool>,
    /// Seed of the examples and of every sampled token.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu, metal, vulkan, webgpu or cuda.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Completions that are decoded together.
    #[arg(long, value_name = "N", default_value_t = BATCH_ROWS, value_parser = at_least_1())]
    batch_rows: u64,
    /// Folder of the evaluation [default: evaluations/DATE-TIME].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TruthName {
    Hashes,
    Whole,
    Boxed,
}

/// Evaluates one model or two, or shows evaluations.
pub fn evaluate(args: &EvaluateArgs) -> anyhow::Result<ExitCode> {
    let out = args.out.clone().unwrap_or_else(|| new_folder("evaluations"));
    let hub = Hub::from_env()?.with_progress(show_transfer());
    let first = Subject::new(args, &hub, &args.model, args.adapter.as_ref(), out.clone())?;
    let second = match &args.against {
        Some(model) => {
            let out = if first.is_done() { out.clone() } else { out.join("against") };
            let second = Subject::new(args, &hub, model, args.against_adapter.as_ref(), out)?;
            // Before anything is answered.
            first.config.check_comparable(&second.config)?;
            Some(second)
        }
        None => None,
    };
    let interrupt = Interrupt::default();
    on_interrupt(interrupt.clone())?;
    for subject in [Some(&first), second.as_ref()].into_iter().flatten() {
        if !subject.show(args, &hub, &interrupt)? {
            say!("Interrupted: repeat the command with --out '{}' to continue.", out.display());
            return Ok(ExitCode::from(130));
        }
    }
    if let Some(second) = second {
        let comparison = PairedComparison::read(&first.folder, &second.folder)?;
        say!("\n{}", evaluation_text::comparison(&comparison));
        // Not into the folder of an earlier evaluation, if there is a new one.
        let folder = if first.is_done() && !second.is_done() { &second.folder } else { &first.folder };
        say!("All of these problems, with completions of both: {}", comparison.write(folder)?.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// A model to evaluate, or an evaluation to show.
struct Subject {
    config: EvaluationConfig,
    folder: PathBuf,
    source: Source,
}

enum Source {
    /// The results of an earlier evaluation.
    Results(Box<Results>),
    /// The folder of the model.
    Model(PathBuf),
}

impl Subject {
    fn new(
        args: &EvaluateArgs,
        hub: &Hub,
        model: &str,
        adapter: Option<&String>,
        out: PathBuf,
    ) -> anyhow::Result<Self> {
        if is_evaluation(Path::new(model)) {
            anyhow::ensure!(adapter.is_none(), "{model} is an evaluation, to which no adapter can be added");
            let results = Results::read(Path::new(model))?;
            let config = results.config.clone();
            return Ok(Self { config, folder: model.into(), source: Source::Results(results.into()) });
        }
        let temperature = args.temperature.unwrap_or(if args.samples == 1 { 0.0 } else { 1.0 });
        let RunConfig { mut task, algorithm, .. } =
            args.config.as_ref().map_or(Ok(RunConfig::default()), RunConfig::read)?;
        if let Some(dataset) = &args.dataset {
            task =
                TaskConfig { dataset: dataset.clone(), dataset_config: None, dataset_revision: None, ..task };
        }
        anyhow::ensure!(
            args.split.is_none() || !Path::new(&task.dataset).is_file(),
            "{} is a single file, which has no splits: leave out --split",
            task.dataset
        );
        let is_of_run = args.dataset.is_none() && args.split.is_none() && task.test_split.is_none();
        let truth = match (&args.truth_pattern, args.truth) {
            (Some(pattern), _) => Truth::Pattern(pattern.clone()),
            (None, Some(TruthName::Hashes)) => Truth::Hashes,
            (None, Some(TruthName::Whole)) => Truth::Whole,
            (None, Some(TruthName::Boxed)) => Truth::Boxed,
            (None, None) => task.columns.truth,
        };
        let config = EvaluationConfig {
            model: model.to_string(),
            adapter: adapter.cloned(),
            dataset: task.dataset,
            dataset_config: task.dataset_config,
            dataset_revision: task.dataset_revision,
            columns: Columns {
                question: args.question_column.clone().unwrap_or(task.columns.question),
                answer: args.answer_column.clone().unwrap_or(task.columns.answer),
                truth,
                // A column that is named takes the place of a template.
                prompt: task.columns.prompt.filter(|_| args.question_column.is_none()),
                filter: task.columns.filter,
            },
            train_split: task.train_split,
            // Those of the run, where they are not a split.
            held_out: Some(task.eval_problems).filter(|n| is_of_run && *n > 0),
            split: args.split.clone().or(task.test_split).unwrap_or("test".to_string()),
            limit: args.limit.map(|n| n as usize),
            system_prompt: args.system_prompt.clone().unwrap_or(task.system_prompt),
            enable_thinking: args.enable_thinking.or(task.enable_thinking),
            // A program may have brought its own, which are not known here.
            rewards: if task.rewards.is_empty() { RewardConfig::gsm8k() } else { task.rewards },
            few_shot: args.few_shot,
            samples: args.samples as usize,
            sampling: Sampling { temperature, ..Sampling::default() },
            max_completion_length: args
                .max_completion_length
                .map_or(algorithm.max_completion_length, |tokens| tokens as usize),
            seed: args.seed,
        };
        config.validate()?;
        let model = resolve_model(model, hub)?;
        // Before anything is answered.
        ChatTemplate::read(&model)?.with_thinking(config.enable_thinking)?;
        Ok(Self { config, folder: out, source: Source::Model(model) })
    }

    /// Whether it has been evaluated earlier.
    fn is_done(&self) -> bool {
        matches!(self.source, Source::Results(_))
    }

    /// Evaluates it, if it has to be, and shows the results; false if interrupted.
    fn show(&self, args: &EvaluateArgs, hub: &Hub, interrupt: &Interrupt) -> anyhow::Result<bool> {
        let Self { config, folder, source } = self;
        let model = match source {
            Source::Results(results) => {
                say!("{}: {}", folder.display(), evaluation_text::results(results));
                return Ok(true);
            }
            Source::Model(model) => model,
        };
        let questions = config.questions(hub)?;
        let evaluator = Evaluator {
            config,
            model,
            questions: &questions,
            device: args.device,
            batch_rows: args.batch_rows as usize,
        };
        let adapter = config.adapter.as_ref().map_or(String::new(), |adapter| format!(" with {adapter}"));
        let (name, dataset) = (&config.model, &config.dataset);
        say!("{name}{adapter} on {} problems of {dataset}; files in {}", questions.len(), folder.display());
        let bar = Bar::new();
        let results = evaluator.run(folder, interrupt, |progress| bar.show(progress))?;
        bar.0.finish_and_clear();
        if let Some(results) = &results {
            say!("{}", evaluation_text::results(results));
        }
        Ok(results.is_some())
    }
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
