//! Speed and memory of a device, with random weights in the shape of Qwen2.5-0.5B or of a `config.json`.
//!
//! `gpu DEVICE [CONFIG]`: metal, vulkan, webgpu, cuda or cpu, a feature of this package.

use std::path::Path;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use grpo::DeviceKind;
use grpo::device::Speed;
use grpo_kernels::Transfers;
use grpo_qwen2::{ActivationCheckpointing, Config, LoraConfig, Qwen2};
use grpo_rollout::{PromptCompletions, Request, SampleKey, Sampler, Sampling, TokenGradients};
use grpo_trainer::{AdamW, AdamWConfig};

const PROMPT: usize = 200;
const TOKENS: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (kind, config) = match args.as_slice() {
        [kind] => (kind, Config::qwen2_5_0_5b()),
        [kind, config] => (kind, Config::read(Path::new(config))?),
        _ => return Err("usage: gpu DEVICE [CONFIG]".into()),
    };
    let kind: DeviceKind = kind.parse()?;
    let device = kind.device()?;
    println!("{:#?}", kind.info()?);
    println!("{}", Speed::measure(&device));
    println!("{:.2} billion random weights in F32", config.parameters() as f64 / 1e9);

    let model = Qwen2::init(config, 0, &device);
    for rows in [1, 8, 64] {
        decode(&model, rows);
    }
    show_memory(&device);
    let adapters = model.clone().freeze().with_lora(&LoraConfig::default());
    learn(adapters, "adapters of rank 16");
    learn(model, "all weights");
    show_memory(&device);
    Ok(())
}

/// Samples completions of one prompt, twice: shaders are compiled the first time.
fn decode(model: &Qwen2, rows: u64) {
    let prompt = [7; PROMPT];
    let keys: Vec<SampleKey> =
        (0..rows).map(|sample| SampleKey { seed: 0, step: 0, problem: 0, sample }).collect();
    let sampler = |max_tokens| Sampler {
        sampling: Sampling::default(),
        stop: Vec::new(),
        max_tokens,
        batch_rows: rows as usize,
    };
    let sample = |max_tokens| {
        let (start, before) = (Instant::now(), Transfers::so_far());
        sampler(max_tokens)
            .sample(model, &[Request { prompt: &prompt, keys: &keys }])
            .expect("the logits are finite");
        (start.elapsed().as_secs_f64(), Transfers::so_far().since(before))
    };
    sample(2);
    let (first, _) = sample(1);
    let (all, transfers) = sample(1 + TOKENS);
    let tokens = rows as f64 * TOKENS as f64;
    println!(
        "{rows} rows: {:.1} tokens/s ({TOKENS} tokens each after a prompt of {PROMPT}); {transfers:?}",
        tokens / (all - first)
    );
}

/// A forward and backward pass and an update, twice.
fn learn(mut model: Qwen2, what: &str) {
    let (prompt, completion) = ([7; PROMPT], [9; 100]);
    let batch = [PromptCompletions { prompt: &prompt, completions: vec![&completion; 8] }];
    let mut optimizer = AdamW::new(&AdamWConfig::default());
    for _ in 0..2 {
        let start = Instant::now();
        let (_, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
        let mut gradients = GradientsParams::new();
        let slopes = vec![TokenGradients::of_logprobs(vec![1e-3; completion.len()]); 8];
        pass.backward(&model, &slopes, &mut gradients);
        let (updated, norm) = optimizer.step(model, gradients, 1e-6, 1.0);
        model = updated;
        println!(
            "{what}: {:.2} s for a pass over {} tokens and an update (norm {norm:.2e})",
            start.elapsed().as_secs_f64(),
            PROMPT + 8 * 100
        );
    }
}

fn show_memory(device: &Device) {
    if let Some(usage) = device.memory_pool_usage() {
        println!("{usage:?}");
    }
}
