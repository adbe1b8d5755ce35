//! One piece of work, timed: what `benches/peers` compares with other programs.
//!
//! `work MODEL_FOLDER NAME` prints one line of JSON for each run of it. The prompt has 180 tokens, every completion 256.

use std::path::Path;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use grpo_core::Completion;
use grpo_qwen2::{Group, Keep, KvCache, LoraConfig, Pass, Qwen2, Scores};
use grpo_reward::Rubric;
use grpo_rollout::{Decoder, Noise, Request, Sampler, Sampling};
use grpo_trainer::{Policy, Problem, Qwen2Policy, Trainer, TrainerConfig};

const PROMPT: usize = 180;
const COMPLETION: usize = 256;
const GROUP: usize = 8;

#[path = "../../../examples/src/allocator.rs"]
mod allocator;
#[path = "../../../examples/src/memory.rs"]
mod memory;

fn main() {
    allocator::keep_memory();
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(name)) = (args.next(), args.next()) else {
        eprintln!("usage: work MODEL_FOLDER NAME");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    match name.as_str() {
        "generate-8" => generate(&name, &load(folder), 8),
        "generate-32" => generate(&name, &load(folder), 32),
        "generate-8-bf16" => generate(&name, &load_narrow(folder), 8),
        "generate-32-bf16" => generate(&name, &load_narrow(folder), 32),
        "logprobs-8x436" => logprobs(&name, &load(folder), false),
        "logprobs-shared" => logprobs(&name, &load(folder), true),
        "step" => step(&name, folder, TrainerConfig::default()),
        "step-narrow" => {
            step(&name, folder, TrainerConfig { narrow_rollouts: true, ..TrainerConfig::default() })
        }
        "step-checkpointing" => step(&name, folder, checkpointing()),
        "step-lora" => step(&name, folder, lora(TrainerConfig::default())),
        "step-lora-checkpointing" => step(&name, folder, lora(checkpointing())),
        "score-512" => score(&name, &load(folder), 512),
        "score-1024" => score(&name, &load(folder), 1024),
        "score-2048" => score(&name, &load(folder), 2048),
        "score-4096" => score(&name, &load(folder), 4096),
        _ => {
            eprintln!("there is no work called {name}");
            std::process::exit(2);
        }
    }
}

fn load(folder: &Path) -> Qwen2 {
    Qwen2::load(folder, &Device::flex()).expect("the model loads")
}

fn load_narrow(folder: &Path) -> Qwen2 {
    Qwen2::load_frozen(folder, &Device::flex()).expect("the model loads")
}

fn ids(range: std::ops::Range<usize>) -> Vec<u32> {
    range.map(|i| ((i * 7919 + 13) % 151_643) as u32).collect()
}

fn report(work: &str, start: Instant, tokens: usize) {
    println!(r#"{{"work": "{work}", "seconds": {:.4}, "tokens": {tokens}}}"#, start.elapsed().as_secs_f64());
}

fn generate(name: &str, model: &Qwen2, rows: usize) {
    let prompt = ids(0..PROMPT);
    let noise: Vec<Noise> =
        (0..rows as u64).map(|sample| Noise { seed: 0, step: 0, problem: 0, sample }).collect();
    let run = |max_tokens| {
        let sampler =
            Sampler { sampling: Sampling::default(), stop: Vec::new(), max_tokens, batch_rows: rows };
        let requests = [Request { prompt: &prompt, noise: &noise }];
        sampler.sample(model, &requests).expect("the model samples")
    };
    run(8);
    let start = Instant::now();
    let samples = run(COMPLETION);
    report(name, start, samples[0].iter().map(|sample| sample.tokens.len()).sum());
}

fn logprobs(name: &str, model: &Qwen2, shared: bool) {
    let prompt = ids(0..PROMPT);
    let completions: Vec<Vec<u32>> =
        (0..GROUP).map(|i| ids(PROMPT + i * COMPLETION..PROMPT + (i + 1) * COMPLETION)).collect();
    let slices: Vec<&[u32]> = completions.iter().map(Vec::as_slice).collect();
    let groups: Vec<Group<'_>> = if shared {
        vec![Group { prompt: &prompt, completions: &slices }]
    } else {
        slices.chunks(1).map(|completions| Group { prompt: &prompt, completions }).collect()
    };
    for _ in 0..2 {
        let start = Instant::now();
        let mut gradients = GradientsParams::new();
        let (scores, pass) = model.forward(&groups, 1.0, Keep::Activations);
        let slopes: Vec<Vec<f32>> = scores
            .iter()
            .map(|s| (0..s.logprobs.len()).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect())
            .collect();
        pass.backward(model, &slopes, &mut gradients);
        report(name, start, GROUP * COMPLETION);
    }
}

/// Log-probabilities of one completion; how much memory they take beside the model is the peak's growth.
fn score(name: &str, model: &Qwen2, tokens: usize) {
    let peak = || memory::peak().unwrap_or(0) / 1024;
    let before = peak();
    let start = Instant::now();
    let completion = ids(1..tokens + 1);
    let groups = [Group { prompt: &ids(0..1), completions: &[&completion] }];
    model.score(&groups, 1.0);
    report(name, start, tokens);
    println!("{} MB more than the model", (peak() - before) / 1000);
}

fn checkpointing() -> TrainerConfig {
    TrainerConfig { gradient_checkpointing: true, ..TrainerConfig::default() }
}

fn lora(config: TrainerConfig) -> TrainerConfig {
    TrainerConfig { lora: Some(LoraConfig::default()), ..config }
}

fn step(name: &str, folder: &Path, config: TrainerConfig) {
    let config = TrainerConfig { max_completion_length: COMPLETION, ..config };
    let policy = Endless(Qwen2Policy::load(folder, &Device::flex(), &config).expect("the model loads"));
    let length =
        |_: &(), completion: &Completion| if completion.text.len().is_multiple_of(2) { 1.0 } else { 0.0 };
    let mut trainer =
        Trainer::new(policy, Rubric::new().with("even", 1.0, length), config).expect("valid options");
    for id in 0..2 {
        let start = Instant::now();
        let problem = Problem { id, prompt: ids(0..PROMPT), truth: () };
        let metrics = trainer.step(&[problem]).expect("the step succeeds");
        report(name, start, (metrics.completions_mean_length * GROUP as f64) as usize);
        eprintln!("{}", serde_json::to_string(&metrics).expect("metrics are plain data"));
    }
}

/// A policy whose completions end at the limit only, so that all have the same length.
struct Endless(Qwen2Policy);

impl Decoder for Endless {
    type Cache = KvCache;

    fn context(&self) -> usize {
        self.0.context()
    }

    fn vocabulary(&self) -> usize {
        self.0.vocabulary()
    }

    fn prefill(&self, prompts: &[&[u32]], capacity: usize) -> (KvCache, Tensor<2>) {
        self.0.prefill(prompts, capacity)
    }

    fn decode(&self, tokens: &[u32], cache: &mut KvCache) -> Tensor<2> {
        self.0.decode(tokens, cache)
    }

    fn select(&self, cache: KvCache, rows: &[usize]) -> KvCache {
        self.0.select(cache, rows)
    }
}

impl Policy for Endless {
    type Pass = Pass;

    fn stop(&self) -> &[u32] {
        &[]
    }

    fn detokenize(&self, tokens: &[u32]) -> String {
        self.0.detokenize(tokens)
    }

    fn forward(&self, groups: &[Group<'_>], temperature: f32) -> (Vec<Scores>, Pass) {
        self.0.forward(groups, temperature)
    }

    fn backward(&mut self, pass: Pass, by_logprob: &[Vec<f32>]) {
        self.0.backward(pass, by_logprob);
    }

    fn has_reference(&self) -> bool {
        self.0.has_reference()
    }

    fn reference(&self, groups: &[Group<'_>], temperature: f32) -> Vec<Scores> {
        self.0.reference(groups, temperature)
    }

    fn mix_reference(&mut self, alpha: f64) {
        self.0.mix_reference(alpha);
    }

    fn update(&mut self, learning_rate: f64, max_grad_norm: f64) -> f64 {
        self.0.update(learning_rate, max_grad_norm)
    }

    fn discard(&mut self) {
        self.0.discard();
    }
}
