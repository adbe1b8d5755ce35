//! The command line: what is not given is what suits the model.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use grpo_core::{Objective, Recipe, SamplerCorrection};
use grpo_data::Hub;
use grpo_qwen2::{LoraConfig, LoraTarget, ModelError};
use grpo_rollout::Sampling;
use grpo_trainer::{Qwen2Policy, Qwen2PolicyConfig, RolloutDtype, Trainer, TrainerConfig};
use serde_json::Value;

use crate::embedded;
use crate::gsm8k::{self, GsmRubric};
use crate::paper::Paper;
use crate::run_folder::RunFolder;
use crate::task::Task;

/// Far above what anyone has memory for.
const MAX_PROBLEMS: usize = 1 << 16;

/// Train a Qwen2 model on word problems with GRPO.
///
/// Without --model, a tiny one that comes with the project learns generated problems, in minutes on a CPU.
#[derive(Parser)]
#[command(args_override_self = true)]
pub struct Args {
    /// The model: a folder in Hugging Face layout, or an id on the Hub [default: the embedded one].
    #[arg(long)]
    pub model: Option<String>,
    /// The problems: a Parquet or JSONL file, a folder of them, or an id on the Hub [default: openai/gsm8k; embedded model: the
    /// embedded ones].
    #[arg(long, requires = "model")]
    dataset: Option<String>,
    /// Training steps [default: 300; embedded model: 150].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Completions of a problem [default: 8].
    #[arg(long)]
    group_size: Option<usize>,
    /// Problems of a step [default: 1; embedded model: 16].
    #[arg(long)]
    problems_per_step: Option<NonZeroUsize>,
    /// The most tokens of a completion [default: 256; embedded model: 80].
    #[arg(long)]
    max_completion_tokens: Option<NonZeroUsize>,
    /// Sampling temperature [default: 1].
    #[arg(long)]
    temperature: Option<f32>,
    /// The paper whose recipe the run follows.
    #[arg(long, value_enum, default_value = "grpo", alias = "objective")]
    recipe: Paper,
    /// Factor of the KL term; 0 needs no reference model [default: the recipe's, 0.04 or 0].
    #[arg(long)]
    beta: Option<f64>,
    /// The learning rate [default: 1e-6; embedded model: 3e-4; ten times that with --lora].
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Trains adapters of this rank beside frozen weights (LoRA) in place of the weights.
    #[arg(long, value_name = "RANK")]
    lora: Option<usize>,
    /// Goes on from the adapters of this folder, in PEFT's format, in place of new ones.
    #[arg(long, requires = "lora")]
    pub adapter: Option<PathBuf>,
    /// The scale of adapters is this by the rank [default: twice the rank].
    #[arg(long, requires = "lora")]
    lora_alpha: Option<f64>,
    /// The linear layers that get adapters, with commas [default: all].
    #[arg(long, requires = "lora", value_delimiter = ',')]
    lora_targets: Vec<LoraTarget>,
    /// The type of the weights to sample with: bf16 is faster, takes two bytes a weight more, and the loss is corrected for the
    /// rounding.
    #[arg(long, value_enum, default_value = "f32")]
    rollout_dtype: Dtype,
    /// What `--rollout-dtype bf16` was called before.
    #[arg(long, hide = true, conflicts_with = "rollout_dtype")]
    narrow_rollouts: bool,
    /// Leaves completions that were cut off out of the loss.
    #[arg(long)]
    mask_truncated_completions: bool,
    /// How often to draw other problems in place of those whose completions all earned the same [default: 0; dapo and cispo: 3].
    #[arg(long)]
    max_redraws: Option<usize>,
    /// Computes activations twice instead of keeping them: takes less memory and more time.
    #[arg(long, alias = "gradient-checkpointing")]
    activation_checkpointing: bool,
    /// cpu, metal, vulkan, webgpu or cuda; auto is the CPU, as long as no other device has been tested.
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Decides the order of problems and every sampled token.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Test problems to answer (greedily) before and after training [default: 0; embedded model: all].
    #[arg(long)]
    eval_problems: Option<usize>,
    /// Steps after which a checkpoint is written, to go on from; one always is at the end.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: u64,
    /// The newest checkpoints that stay.
    #[arg(long, default_value = "2")]
    pub keep: NonZeroUsize,
    /// Seconds that scoring a completion may take; a reward that takes longer ends the run, which can be resumed.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    reward_timeout: u64,
    /// Steps after which one is shown [default: 1; embedded model: 10].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    show_every: Option<u64>,
    /// Folder of the run [default: runs/DATE-TIME].
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Goes on with the run in this folder, from its newest checkpoint and with its options. Of them, --steps and
    /// --activation-checkpointing can be others, and those of the device, of the time limit, and of what is shown and saved.
    #[arg(long)]
    pub resume: Option<PathBuf>,
}

/// The type of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Dtype {
    F32,
    Bf16,
}

impl Args {
    /// The trainer's numbers.
    pub fn config(&self) -> TrainerConfig {
        let base = if self.model.is_some() { TrainerConfig::default() } else { embedded::config() };
        let max_completion_length =
            self.max_completion_tokens.map_or(base.max_completion_length, NonZeroUsize::get);
        let recipe = self.recipe.recipe(max_completion_length);
        let learning_rate = match (self.lora, &self.model) {
            (None, _) => base.learning_rate,
            // Ten times that: an adapter begins at zero, and has few weights to move the model with.
            (Some(_), Some(_)) => 1e-5,
            (Some(_), None) => 3e-3,
        };
        TrainerConfig {
            group_size: self.group_size.unwrap_or(base.group_size),
            sampling: Sampling {
                temperature: self.temperature.unwrap_or(base.sampling.temperature),
                ..base.sampling
            },
            max_completion_length,
            recipe: Recipe {
                objective: Objective { beta: self.beta.unwrap_or(recipe.objective.beta), ..recipe.objective },
                mask_truncated_completions: self.mask_truncated_completions
                    || recipe.mask_truncated_completions,
                max_redraws: self.max_redraws.unwrap_or(recipe.max_redraws),
                ..recipe
            },
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            seed: self.seed,
            ..base
        }
    }

    /// The policy's numbers.
    pub fn policy_config(&self) -> Qwen2PolicyConfig {
        Qwen2PolicyConfig {
            lora: self.lora(),
            rollout_dtype: match self.rollout_dtype() {
                Dtype::F32 => RolloutDtype::F32,
                Dtype::Bf16 => RolloutDtype::Bf16(SamplerCorrection::default()),
            },
            activation_checkpointing: self.activation_checkpointing,
            ..Qwen2PolicyConfig::default()
        }
    }

    fn rollout_dtype(&self) -> Dtype {
        if self.narrow_rollouts { Dtype::Bf16 } else { self.rollout_dtype }
    }

    /// Training steps.
    pub fn steps(&self) -> u64 {
        self.steps.unwrap_or(if self.model.is_some() { 300 } else { embedded::STEPS })
    }

    fn lora(&self) -> Option<LoraConfig> {
        let targets =
            if self.lora_targets.is_empty() { LoraTarget::ALL.to_vec() } else { self.lora_targets.clone() };
        self.lora.map(|rank| LoraConfig {
            rank,
            alpha: self.lora_alpha.unwrap_or(2.0 * rank as f64),
            targets,
            seed: self.seed,
        })
    }

    /// The options of a run, with those that are given now in place of the same ones.
    pub fn of_run(run: &RunFolder, given: &[String]) -> Result<Self, clap::Error> {
        let program = std::iter::once("gsm8k_qwen");
        let options = run.options().iter().chain(given).map(String::as_str);
        Self::try_parse_from(program.chain(options))
    }

    /// The trainer of a run as it begins.
    pub fn trainer(&self, run: &RunFolder, device: &Device) -> anyhow::Result<Trainer<Qwen2Policy, String>> {
        self.validate()?;
        let policy = self.policy(&run.model(), run.adapter().as_deref(), device)?.with_clock(run.began());
        Ok(Trainer::new(policy, self.rubric(), self.config())?)
    }

    /// What a run depends on.
    pub fn settings(&self) -> Value {
        let mut settings = self.config().settings(&self.rubric());
        settings["policy"] = self.policy_config().settings();
        settings["problems_per_step"] = self.problems_per_step().into();
        settings["model"] = self.model.clone().into();
        settings["dataset"] = self.dataset.clone().into();
        settings["adapter"] = self.adapter.as_ref().map(|folder| folder.display().to_string()).into();
        settings["eval_problems"] = self.eval_problems.into();
        settings
    }

    /// Checks that every number is in its range.
    pub fn validate(&self) -> anyhow::Result<()> {
        self.config().validate()?;
        self.policy_config().validate()?;
        let n = self.problems_per_step();
        ensure!(n <= MAX_PROBLEMS, "--problems-per-step is {n}: it must be at most {MAX_PROBLEMS}");
        Ok(())
    }

    /// The policy to train.
    fn policy(
        &self,
        folder: &Path,
        adapter: Option<&Path>,
        device: &Device,
    ) -> Result<Qwen2Policy, ModelError> {
        let policy = Qwen2Policy::load(folder, device, &self.policy_config())?;
        let policy = match adapter {
            Some(adapter) => policy.with_adapter(adapter)?,
            None => policy,
        };
        Ok(match &self.model {
            Some(model) => policy.with_name(model),
            None => policy,
        })
    }

    /// The rewards of the run.
    pub fn rubric(&self) -> GsmRubric {
        gsm8k::rubric().with_time_limit(Duration::from_secs(self.reward_timeout))
    }

    /// Problems of a step.
    pub fn problems_per_step(&self) -> usize {
        let default = if self.model.is_some() { 1 } else { embedded::PROBLEMS_PER_STEP };
        self.problems_per_step.map_or(default, NonZeroUsize::get)
    }

    /// Steps after which one is shown.
    pub fn show_every(&self) -> u64 {
        self.show_every.unwrap_or(if self.model.is_some() { 1 } else { 10 })
    }

    /// What to train on.
    pub fn task(&self, hub: &Hub) -> anyhow::Result<Task> {
        let Some(model) = &self.model else {
            let mut task = embedded::task()?;
            for test in &mut task.tests {
                test.rows.truncate(self.eval_problems.unwrap_or(usize::MAX));
            }
            task.tests.retain(|test| !test.rows.is_empty());
            return Ok(task);
        };
        Task::resolve(model, self.dataset(), self.eval_problems.unwrap_or(0), hub)
    }

    fn dataset(&self) -> &str {
        self.dataset.as_deref().unwrap_or("openai/gsm8k")
    }

    /// The options that go on with an interrupted run in `folder`.
    pub fn resumption(&self, folder: &Path) -> String {
        let steps = self.steps.map_or(String::new(), |steps| format!(" --steps {steps}"));
        format!("--resume '{}'{steps}", folder.display())
    }

    /// The options of a run that continues from this one: all the same except the seed.
    pub fn further(&self) -> String {
        let config = self.config();
        let dataset = match &self.model {
            Some(_) => self.dataset().to_string(),
            None => embedded::folder("problems").display().to_string(),
        };
        let recipe = self.recipe.to_possible_value().expect("no recipe is hidden");
        let mut options = format!(
            "--dataset '{dataset}' --seed {} --steps {} --group-size {} --problems-per-step {} \
             --max-completion-tokens {} --temperature {} --recipe {} --beta {} --max-redraws {} \
             --learning-rate {} --eval-problems {} --show-every {} --device {}",
            self.seed.wrapping_add(1),
            self.steps(),
            config.group_size,
            self.problems_per_step(),
            config.max_completion_length,
            config.sampling.temperature,
            recipe.get_name(),
            config.recipe.objective.beta,
            config.recipe.max_redraws,
            config.learning_rate,
            self.eval_problems.unwrap_or(if self.model.is_some() { 0 } else { embedded::TEST_PROBLEMS }),
            self.show_every(),
            self.device,
        );
        if let Some(lora) = self.lora() {
            let targets: Vec<&str> = lora.targets.iter().map(|target| target.name()).collect();
            let targets = targets.join(",");
            options += &format!(" --lora {} --lora-alpha {} --lora-targets {targets}", lora.rank, lora.alpha);
        }
        for (option, given) in [
            (" --activation-checkpointing", self.activation_checkpointing),
            (" --mask-truncated-completions", self.mask_truncated_completions),
            (" --rollout-dtype bf16", self.rollout_dtype() == Dtype::Bf16),
        ] {
            options += if given { option } else { "" };
        }
        options
    }

    /// What the run trains on, in words.
    pub fn subject(&self) -> String {
        match &self.model {
            Some(model) => format!("{model} on {}", self.dataset()),
            None => {
                "No --model given: the tiny Qwen2 that comes with the project, on generated word problems"
                    .to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_earlier_versions_still_work() {
        let policy = |options: &[&str]| {
            Args::try_parse_from(["gsm8k_qwen"].iter().chain(options)).unwrap().policy_config()
        };
        let named = policy(&["--rollout-dtype", "bf16", "--activation-checkpointing"]);
        assert!(named.activation_checkpointing && named.rollout_dtype != RolloutDtype::F32);
        assert_eq!(policy(&["--narrow-rollouts", "--gradient-checkpointing"]), named);
        assert_ne!(policy(&[]), named);
    }
}
