//! One piece of work, timed: what `benches/peers` compares with other programs.
//!
//! `work MODEL_FOLDER NAME` prints one line of JSON for each run of it. The prompt has 180 tokens, every completion 256.

use std::path::Path;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use grpo_core::{Completion, SamplerCorrection};
use grpo_qwen2::{ActivationCheckpointing, ChatTokenizer, LoraConfig, Message, Qwen2};
use grpo_reward::Rubric;
use grpo_rollout::{
    PromptCompletions, Request, Sample, SampleKey, Sampler, Sampling, TokenGradients, TokenLogProbs,
};
use grpo_trainer::{
    AdamWConfig, MomentsDtype, Problem, Qwen2Policy, Qwen2PolicyConfig, RolloutDtype, Text, Trainer,
    TrainerConfig,
};

const PROMPT: usize = 180;
const COMPLETION: usize = 256;
const GROUP: usize = 8;
/// Word problems, one per line, whose solutions differ in length.
const PROBLEMS: &str = include_str!("../../peers/problems.txt");

#[path = "../../../crates/grpo-cli/src/allocator.rs"]
mod allocator;

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
        "generate-8-bf16" => generate(&name, &load_bf16(folder), 8),
        "generate-32-bf16" => generate(&name, &load_bf16(folder), 32),
        "mixed-bf16" => mixed(&name, folder, PROBLEMS.lines().count()),
        "mixed-bf16-apart" => mixed(&name, folder, 2),
        "logprobs-8x436" => logprobs(&name, &load(folder), false),
        "logprobs-shared" => logprobs(&name, &load(folder), true),
        "step" => step(&name, folder, &Qwen2PolicyConfig::default(), false),
        "step-bf16" => step(&name, folder, &bf16_rollouts(), false),
        "step-checkpointing" => step(&name, folder, &Qwen2PolicyConfig::default(), true),
        "step-bf16-moments" => step(&name, folder, &bf16_moments(), false),
        "step-bf16-moments-checkpointing" => step(&name, folder, &bf16_moments(), true),
        "step-lora" => step(&name, folder, &lora(), false),
        "step-lora-checkpointing" => step(&name, folder, &lora(), true),
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

fn load_bf16(folder: &Path) -> Qwen2 {
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
    let keys: Vec<SampleKey> =
        (0..rows as u64).map(|sample| SampleKey { seed: 0, step: 0, problem: 0, sample }).collect();
    let run = |max_tokens| {
        let sampler =
            Sampler { sampling: Sampling::default(), stop: Vec::new(), max_tokens, batch_rows: rows };
        let requests = [Request { prompt: &prompt, keys: &keys }];
        sampler.sample(model, &requests).expect("the model samples")
    };
    run(8);
    let start = Instant::now();
    let samples = run(COMPLETION);
    report(name, start, samples[0].iter().map(|sample| sample.tokens.len()).sum());
}

/// Sixteen rows: sixty-four completions of the problems, with the lengths that the model gives them, `together` problems at a time.
fn mixed(name: &str, folder: &Path, together: usize) {
    let model = load_bf16(folder);
    let text = ChatTokenizer::read(folder).expect("the tokenizer loads");
    let prompt = |problem: &str| {
        let messages = [Message::new("user", format!("{problem} Think step by step."))];
        text.prompt(&messages).expect("the template renders")
    };
    let prompts: Vec<Vec<u32>> = PROBLEMS.lines().map(prompt).collect();
    let key = |problem, sample| SampleKey { seed: 0, step: 0, problem, sample };
    let keys: Vec<Vec<SampleKey>> = (0..prompts.len() as u64)
        .map(|problem| (0..8).map(|sample| key(problem, sample)).collect())
        .collect();
    let requests: Vec<Request<'_>> =
        prompts.iter().zip(&keys).map(|(prompt, keys)| Request { prompt, keys }).collect();
    let stop = text.stop.clone();
    let sampler = Sampler { sampling: Sampling::default(), stop, max_tokens: COMPLETION, batch_rows: 16 };
    let start = Instant::now();
    let sample = |requests: &[Request<'_>]| sampler.sample(&model, requests).expect("the model samples");
    let samples: Vec<Vec<Sample>> = requests.chunks(together).flat_map(sample).collect();
    report(name, start, samples.iter().flatten().map(|sample| sample.tokens.len()).sum());
}

fn logprobs(name: &str, model: &Qwen2, shared: bool) {
    let prompt = ids(0..PROMPT);
    let completions: Vec<Vec<u32>> =
        (0..GROUP).map(|i| ids(PROMPT + i * COMPLETION..PROMPT + (i + 1) * COMPLETION)).collect();
    let slices: Vec<&[u32]> = completions.iter().map(Vec::as_slice).collect();
    let per_prompt = if shared { GROUP } else { 1 };
    let batch: Vec<PromptCompletions<'_>> = slices
        .chunks(per_prompt)
        .map(|completions| PromptCompletions { prompt: &prompt, completions: completions.to_vec() })
        .collect();
    for _ in 0..2 {
        let start = Instant::now();
        let mut gradients = GradientsParams::new();
        let (scores, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
        let signs = |n: usize| (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let slope = |s: &TokenLogProbs| TokenGradients::of_logprobs(signs(s.logprobs.len()));
        let slopes: Vec<TokenGradients> = scores.iter().map(slope).collect();
        pass.backward(model, &slopes, &mut gradients);
        report(name, start, GROUP * COMPLETION);
    }
}

/// Log-probabilities of one completion; how much memory they take beside the model is the peak's growth.
fn score(name: &str, model: &Qwen2, tokens: usize) {
    let peak = || grpo_trainer::peak_memory().unwrap_or(0) / 1024;
    let before = peak();
    let start = Instant::now();
    let completion = ids(1..tokens + 1);
    let batch = [PromptCompletions { prompt: &ids(0..1), completions: vec![&completion] }];
    model.logprobs(&batch, 1.0);
    report(name, start, tokens);
    println!("{} MB more than the model", (peak() - before) / 1000);
}

fn bf16_rollouts() -> Qwen2PolicyConfig {
    let rollout_dtype = RolloutDtype::Bf16(SamplerCorrection::default());
    Qwen2PolicyConfig { rollout_dtype, ..Qwen2PolicyConfig::default() }
}

fn bf16_moments() -> Qwen2PolicyConfig {
    let optimizer = AdamWConfig { moments_dtype: MomentsDtype::Bf16, ..AdamWConfig::default() };
    Qwen2PolicyConfig { optimizer, ..Qwen2PolicyConfig::default() }
}

fn lora() -> Qwen2PolicyConfig {
    Qwen2PolicyConfig { lora: Some(LoraConfig::default()), ..Qwen2PolicyConfig::default() }
}

fn step(name: &str, folder: &Path, config: &Qwen2PolicyConfig, checkpointing: bool) {
    let policy = Qwen2Policy::load(folder, &Device::flex(), config).expect("the model loads");
    let policy = policy.with_activation_checkpointing(checkpointing).map_text(Endless);
    let config = TrainerConfig { max_completion_length: COMPLETION, ..TrainerConfig::default() };
    let length =
        |_: &(), completion: &Completion| if completion.text.len().is_multiple_of(2) { 1.0 } else { 0.0 };
    let mut trainer =
        Trainer::new(policy, Rubric::new().with("even", 1.0, length), config).expect("valid options");
    for id in 0..2 {
        let start = Instant::now();
        let problem = Problem { id, prompt: ids(0..PROMPT), messages: vec![], truth: () };
        let metrics = trainer.step(&[problem]).expect("the step succeeds");
        report(name, start, (metrics.completions_mean_length * GROUP as f64) as usize);
        eprintln!("{}", serde_json::to_string(&metrics).expect("metrics are plain data"));
    }
}

/// Text without stop tokens: completions end at the limit only, so that all have the same length.
struct Endless(ChatTokenizer);

impl Text for Endless {
    fn stop(&self) -> &[u32] {
        &[]
    }

    fn decode(&self, tokens: &[u32]) -> String {
        self.0.decode(tokens)
    }
}
