//! Supervised fine-tuning on accepted completions.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use grpo::evaluation::Recorded;
use grpo::grpo_trainer::SftConfig;
use grpo::sft::{FineTuned, FineTuning, Saved, SftEvent};
use grpo::{DeviceKind, Interrupt, LoraConfig};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::at_least_1;
use crate::say;
use crate::train::{new_folder, on_interrupt};

/// The learning rate if all weights are trained: TRL's default.
const FULL_RATE: f64 = 2e-5;

/// Fine-tune a model on the completions of an evaluation that are right and in the format (rejection sampling): a cold start for
/// `grpo train --adapter`. The model learns them without the examples that the evaluation had in its prompt.
#[derive(Args, Debug)]
pub struct SftArgs {
    /// Folder of an evaluation, best of the training split: grpo evaluate MODEL --split train --few-shot 4.
    evaluation: PathBuf,
    /// Train LoRA adapters of this rank on frozen weights instead of the weights themselves.
    #[arg(long, value_name = "RANK", value_parser = at_least_1())]
    lora: Option<u64>,
    /// Passes over the completions.
    #[arg(long, value_name = "N", default_value_t = SftConfig::default().epochs, value_parser = at_least_1())]
    epochs: u64,
    /// Completions per update.
    #[arg(long, value_name = "N", default_value_t = SftConfig::default().batch_size as u64, value_parser = at_least_1())]
    batch_size: u64,
    /// Maximum tokens per forward and backward pass; bounds memory.
    #[arg(long, value_name = "TOKENS", default_value_t = SftConfig::default().micro_batch_tokens as u64, value_parser = at_least_1())]
    micro_batch_tokens: u64,
    /// Learning rate of the first update, which falls linearly to 0 [default: 2e-5; with LoRA: 1e-4].
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// Seed of the order of the completions, and of new adapters.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// cpu, metal, vulkan, webgpu or cuda.
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Folder for the adapters or the model [default: sft/DATE-TIME].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Fine-tunes a model.
pub fn sft(args: &SftArgs) -> anyhow::Result<ExitCode> {
    let out = args.out.clone().unwrap_or_else(|| new_folder("sft"));
    let evaluation = Recorded::read(&args.evaluation)?;
    let defaults = SftConfig::default();
    let has_adapters = args.lora.is_some() || evaluation.config.adapter.is_some();
    let rate = if has_adapters { defaults.learning_rate } else { FULL_RATE };
    let config = SftConfig {
        epochs: args.epochs,
        batch_size: args.batch_size as usize,
        micro_batch_tokens: args.micro_batch_tokens as usize,
        learning_rate: args.learning_rate.unwrap_or(rate),
        seed: args.seed,
        ..defaults
    };
    let lora = args.lora.map(|rank| LoraConfig::of_rank(rank as usize, args.seed));
    let fine_tuning = FineTuning { evaluation: &evaluation, sft: &config, lora, device: args.device };
    let interrupt = Interrupt::default();
    on_interrupt(interrupt.clone())?;
    let bar = ProgressBar::no_length().with_style(style());
    let mut losses = Vec::new();
    let tuned = fine_tuning.run(&out, &interrupt, |event| match event {
        SftEvent::Started { completions, accepted, updates } => {
            say!("{accepted} of {completions} completions are right and in the format: {updates} updates");
            bar.set_length(updates);
            bar.enable_steady_tick(Duration::from_secs(1));
        }
        SftEvent::Updated(update) => {
            losses.push(update.loss);
            bar.set_position(update.update);
            bar.set_message(format!("loss {:.3}", update.loss));
        }
    });
    bar.finish_and_clear();
    let FineTuned { finished, saved } = tuned?;
    if !finished {
        say!("Interrupted after update {}.", losses.len());
    }
    if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
        say!("Loss per token: {first:.3} in the first update, {last:.3} in the last");
    }
    match saved {
        Some(Saved::Adapter(folder)) => say!("Adapters, in PEFT format: {}", folder.display()),
        Some(Saved::Model(folder)) => say!("Model, in Hugging Face layout: {}", folder.display()),
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn style() -> ProgressStyle {
    let template = "{bar:30} {pos}/{len} updates, {msg}, {elapsed} elapsed, {eta} left";
    ProgressStyle::with_template(template).expect("the template is valid")
}
