//! Command-line options of a run.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use grpo::{ConfigError, DeviceKind, LoraTarget, Paper, Settings};
use serde_json::{Value, json};

const MODEL: &str = "Model and data";
const SAMPLING: &str = "Sampling";
const ALGORITHM: &str = "Algorithm";
const LORA: &str = "LoRA";
const EXECUTION: &str = "Execution (may change when a run is resumed; then the default is what it was)";
const OUTPUT: &str = "Output";

/// Options for starting a run.
#[derive(Args, Debug, Clone, Default)]
pub struct TrainArgs {
    /// What the run is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is shown.
    #[command(flatten)]
    pub display: DisplayArgs,
    /// Run folder [default: runs/DATE-TIME].
    #[arg(long, value_name = "FOLDER", help_heading = OUTPUT)]
    pub out: Option<PathBuf>,
    /// Skip the preflight rollouts before training.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) no_preflight: bool,
}

/// What a run is. Omitted options come from the --config file or have their defaults.
#[derive(Args, Debug, Clone, Default)]
pub struct ConfigArgs {
    /// TOML file with any of the keys that `grpo config` lists.
    #[arg(long, value_name = "FILE", help_heading = MODEL)]
    pub config: Option<PathBuf>,
    /// Model: a folder in Hugging Face layout, or a Hub id.
    #[arg(long, help_heading = MODEL)]
    pub model: Option<String>,
    /// Problems: a Parquet, JSONL or CSV file, a folder of them, or a Hub id [default: openai/gsm8k].
    #[arg(long, help_heading = MODEL)]
    dataset: Option<String>,
    /// Held-out problems to answer greedily before and after training [default: 0].
    #[arg(long, value_name = "N", help_heading = MODEL)]
    eval_problems: Option<usize>,
    /// Drop problems whose prompt has more tokens than this.
    #[arg(long, value_name = "TOKENS", value_parser = at_least_1(), help_heading = MODEL)]
    max_prompt_length: Option<u64>,
    /// Completions per problem [default: 8].
    #[arg(long, value_name = "N", help_heading = SAMPLING)]
    group_size: Option<usize>,
    /// Problems per step [default: 1].
    #[arg(long, value_name = "N", help_heading = SAMPLING)]
    problems_per_step: Option<NonZeroUsize>,
    /// Maximum tokens per completion [default: 256].
    #[arg(
        long,
        visible_alias = "max-completion-tokens",
        value_name = "TOKENS",
        value_parser = at_least_1(),
        help_heading = SAMPLING
    )]
    max_completion_length: Option<u64>,
    /// Sampling temperature, above 0 [default: 1].
    #[arg(long, value_parser = number::<f32>, allow_negative_numbers = true, help_heading = SAMPLING)]
    temperature: Option<f32>,
    /// Dtype of the weights used for sampling: bf16 is faster, takes two more bytes per weight, and the loss corrects for the
    /// rounding; f16 for GPUs without bf16 [default: f32].
    #[arg(long, value_enum, help_heading = SAMPLING)]
    rollout_dtype: Option<Dtype>,
    /// Former name of `--rollout-dtype bf16`.
    #[arg(long, hide = true, conflicts_with = "rollout_dtype")]
    narrow_rollouts: bool,
    /// How many times to replace problems whose completions all have the same outcome [default: the recipe's].
    #[arg(long, value_name = "N", help_heading = SAMPLING)]
    max_redraws: Option<usize>,
    /// Paper whose recipe the run follows [default: grpo].
    #[arg(long, alias = "objective", value_name = "PAPER", help_heading = ALGORITHM, value_parser = paper, long_help = papers())]
    recipe: Option<Paper>,
    /// Coefficient of the KL term; 0 needs no reference model [default: the recipe's, 0.04 or 0].
    #[arg(long, value_parser = number::<f64>, allow_negative_numbers = true, help_heading = ALGORITHM)]
    beta: Option<f64>,
    /// Learning rate [default: 1e-6; with LoRA: 1e-5].
    #[arg(long, value_parser = number::<f64>, allow_negative_numbers = true, value_name = "RATE", help_heading = ALGORITHM)]
    learning_rate: Option<f64>,
    /// Exclude truncated completions from the loss.
    #[arg(long, help_heading = ALGORITHM)]
    mask_truncated_completions: bool,
    /// Seed for the order of problems and every sampled token [default: 0].
    #[arg(long, help_heading = ALGORITHM)]
    seed: Option<u64>,
    /// Train LoRA adapters of this rank on frozen weights instead of the weights themselves.
    #[arg(long, value_name = "RANK", value_parser = at_least_1(), help_heading = LORA)]
    lora: Option<u64>,
    /// Continue from the adapters in this folder (PEFT format) instead of new ones.
    #[arg(long, value_name = "FOLDER", help_heading = LORA)]
    adapter: Option<String>,
    /// LoRA alpha: adapters are scaled by alpha / rank [default: twice the rank].
    #[arg(long, value_parser = number::<f64>, allow_negative_numbers = true, value_name = "ALPHA", help_heading = LORA)]
    lora_alpha: Option<f64>,
    /// Linear layers that get adapters, comma-separated [default: all].
    #[arg(long, value_delimiter = ',', value_name = "LAYERS", help_heading = LORA)]
    lora_targets: Vec<LoraTarget>,
    #[command(flatten)]
    execution: ExecutionArgs,
    /// Skip the reward audit on right answers and known tricks.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) no_audit: bool,
    /// Any keys that `grpo config` lists, such as beta=0.01 or weight_decay=0.1.
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// Options that may change when a run is resumed.
#[derive(Args, Debug, Clone, Default)]
pub struct ExecutionArgs {
    /// Total training steps of the run [default: 300].
    #[arg(long, value_name = "N", value_parser = at_least_1(), help_heading = EXECUTION)]
    steps: Option<u64>,
    /// cpu, metal, vulkan, webgpu or cuda; auto is the first GPU of this build that passes a self-test, or else the CPU
    /// [default: auto].
    #[arg(long, help_heading = EXECUTION)]
    device: Option<DeviceKind>,
    /// Steps between checkpoints; there is always one at the end [default: 50].
    #[arg(long, value_name = "STEPS", value_parser = at_least_1(), help_heading = EXECUTION)]
    save_every: Option<u64>,
    /// Keep only this many of the newest checkpoints [default: 2].
    #[arg(long, value_name = "N", help_heading = EXECUTION)]
    keep: Option<NonZeroUsize>,
    /// Answer some held-out problems every so many steps, and keep the best checkpoint; needs --eval-problems.
    #[arg(long, value_name = "STEPS", value_parser = at_least_1(), help_heading = EXECUTION)]
    eval_every: Option<u64>,
    /// Time limit in seconds for scoring one completion; a slower reward ends the run, which can be resumed [default: 60].
    #[arg(long, value_name = "SECONDS", value_parser = at_least_1(), help_heading = EXECUTION)]
    reward_timeout: Option<u64>,
    /// Recompute activations instead of keeping them: less memory, more time.
    #[arg(long, alias = "gradient-checkpointing", help_heading = EXECUTION)]
    activation_checkpointing: bool,
}

/// What is shown.
#[derive(Args, Debug, Clone, Default)]
pub struct DisplayArgs {
    /// Print the first and every N-th step with one of its completions [default: all, on a terminal none].
    #[arg(long, value_name = "STEPS", value_parser = at_least_1(), help_heading = OUTPUT)]
    pub(crate) show_every: Option<u64>,
    /// Print only warnings and errors.
    #[arg(long, short, conflicts_with = "json", help_heading = OUTPUT)]
    pub(crate) quiet: bool,
    /// Print a JSON object per step on standard output, its metrics and times, and nothing else there.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) json: bool,
    /// Write event files for TensorBoard into the folder `tensorboard` of the run.
    #[arg(long, help_heading = OUTPUT)]
    pub(crate) tensorboard: bool,
}

/// Dtype of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    F32,
    Bf16,
    F16,
}

pub(crate) fn at_least_1() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// Parses a paper's name.
pub fn paper(name: &str) -> Result<Paper, String> {
    let known = Paper::ALL.map(Paper::name).join(", ");
    Paper::named(name).ok_or_else(|| format!("choose one of {known}"))
}

/// A number: neither infinite nor NaN.
fn number<N: std::str::FromStr + Copy + Into<f64>>(text: &str) -> Result<N, String> {
    let number = text.parse().ok().filter(|number: &N| Into::<f64>::into(*number).is_finite());
    number.ok_or_else(|| "it must be a number".to_string())
}

fn papers() -> String {
    let list: Vec<String> =
        Paper::ALL.iter().map(|paper| format!("- {}: {}", paper.name(), paper.summary())).collect();
    format!("Paper whose recipe the run follows [default: grpo]:\n{}", list.join("\n"))
}

impl ConfigArgs {
    /// The settings: those of the --config file, overridden by the options.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let file = self.config.as_ref().map_or(Ok(Settings::default()), |file| Settings::read(file))?;
        let mut options = Settings::default();
        let masks = self.mask_truncated_completions.then_some(json!(true));
        let targets = Some(&self.lora_targets).filter(|targets| !targets.is_empty());
        let dtype = if self.narrow_rollouts { Some(Dtype::Bf16) } else { self.rollout_dtype };
        let dtype = dtype.map(|dtype| match dtype {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::F16 => "f16",
        });
        set_given(
            &mut options,
            [
                ("task.model", self.model.as_ref().map(|model| json!(model))),
                ("task.dataset", self.dataset.as_ref().map(|dataset| json!(dataset))),
                ("task.adapter", self.adapter.as_ref().map(|adapter| json!(adapter))),
                ("task.eval_problems", self.eval_problems.map(|n| json!(n))),
                ("task.max_prompt_length", self.max_prompt_length.map(|n| json!(n))),
                ("task.problems_per_step", self.problems_per_step.map(|n| json!(n))),
                ("algorithm.group_size", self.group_size.map(|n| json!(n))),
                ("algorithm.max_completion_length", self.max_completion_length.map(|n| json!(n))),
                ("algorithm.sampling.temperature", self.temperature.map(|t| json!(t))),
                ("algorithm.recipe", self.recipe.map(|paper| json!(paper.name()))),
                ("algorithm.recipe.objective.beta", self.beta.map(|beta| json!(beta))),
                ("algorithm.recipe.max_redraws", self.max_redraws.map(|n| json!(n))),
                ("algorithm.recipe.mask_truncated_completions", masks),
                ("algorithm.learning_rate", self.learning_rate.map(|rate| json!(rate))),
                ("algorithm.seed", self.seed.map(|seed| json!(seed))),
                ("policy.lora.rank", self.lora.map(|rank| json!(rank))),
                ("policy.lora.alpha", self.lora_alpha.map(|alpha| json!(alpha))),
                ("policy.lora.targets", targets.map(|targets| json!(targets))),
                ("policy.rollout_dtype.kind", dtype.map(|dtype| json!(dtype))),
            ],
        )?;
        // One layer, in which their order doesn't matter.
        self.execution.add_to(&mut options)?;
        self.settings.iter().try_for_each(|assignment| options.assign(assignment))?;
        Ok(file.then(options))
    }
}

impl ExecutionArgs {
    /// The settings these options specify.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        self.add_to(&mut settings)?;
        Ok(settings)
    }

    fn add_to(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        set_given(
            settings,
            [
                ("execution.steps", self.steps.map(|n| json!(n))),
                ("execution.device", self.device.map(|device| json!(device))),
                ("execution.save_every", self.save_every.map(|n| json!(n))),
                ("execution.keep", self.keep.map(|n| json!(n))),
                ("execution.eval_every", self.eval_every.map(|n| json!(n))),
                ("execution.reward_timeout", self.reward_timeout.map(|n| json!(n))),
                ("execution.activation_checkpointing", self.activation_checkpointing.then_some(json!(true))),
            ],
        )
    }
}

/// Sets the values of the options that are given.
fn set_given<const N: usize>(
    settings: &mut Settings,
    options: [(&str, Option<Value>); N],
) -> Result<(), ConfigError> {
    options.into_iter().try_for_each(|(key, value)| value.map_or(Ok(()), |value| settings.set(key, value)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use grpo::RolloutDtype;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: ConfigArgs,
    }

    #[test]
    fn options_of_earlier_versions_still_work() {
        let config = |options: &[&str]| {
            let args = Program::try_parse_from(["program"].iter().chain(options)).unwrap().args;
            args.settings().unwrap().config().unwrap()
        };
        let named = config(&[
            "--rollout-dtype",
            "bf16",
            "--activation-checkpointing",
            "--recipe",
            "dapo",
            "--max-completion-length",
            "9",
        ]);
        assert!(named.execution.activation_checkpointing && named.policy.rollout_dtype != RolloutDtype::F32);
        let earlier = [
            "--narrow-rollouts",
            "--gradient-checkpointing",
            "--objective",
            "dapo",
            "--max-completion-tokens",
            "9",
        ];
        assert_eq!(config(&earlier), named);
        assert_ne!(config(&[]), named);
    }

    #[test]
    fn options_and_keys_are_the_same() {
        let config = |options: &[&str]| {
            let args = Program::try_parse_from(["program"].iter().chain(options)).unwrap().args;
            args.settings().unwrap().config().unwrap()
        };
        let options = [
            "--lora",
            "4",
            "--learning-rate",
            "0.5",
            "--beta",
            "0",
            "--steps",
            "7",
            "--device",
            "cpu",
            "--lora-targets",
            "q_proj,up_proj",
        ];
        let keys = [
            "lora.rank=4",
            "learning_rate=0.5",
            "beta=0",
            "steps=7",
            "device=cpu",
            r#"lora.targets=["q_proj", "up_proj"]"#,
        ];
        assert_eq!(config(&options), config(&keys));
        assert_eq!(config(&["--lora", "4"]).algorithm.learning_rate, 1e-5);
        let [a, b] = [["--beta", "0.1", "recipe=dapo"], ["--recipe", "dapo", "beta=0.1"]]
            .map(|options| config(&options));
        assert_eq!((a.algorithm.recipe.max_redraws, a.algorithm.recipe.objective.beta), (3, 0.1));
        assert_eq!(a, b);
    }
}
