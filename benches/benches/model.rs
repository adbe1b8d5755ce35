//! Sampling and training passes of a model.
//!
//! `GRPO_QWEN_CHECKPOINT=<folder> cargo bench --bench model` measures that checkpoint; without the variable it is the tiny
//! one of the examples, whose figures say nothing about a real model.

use std::path::PathBuf;
use std::time::Duration;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use grpo_core::Completion;
use grpo_qwen2::{ActivationCheckpointing, Qwen2};
use grpo_reward::Rubric;
use grpo_rollout::{Decoder, PromptCompletions, TokenGradients};
use grpo_trainer::{Problem, Qwen2Policy, Qwen2PolicyConfig, Trainer, TrainerConfig};

/// Tokens of the prompt and of each completion.
const PROMPT: usize = 100;
const COMPLETION: usize = 100;

fn folder() -> PathBuf {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/embedded/model");
    std::env::var_os("GRPO_QWEN_CHECKPOINT").map_or(PathBuf::from(tiny), PathBuf::from)
}

fn load() -> Qwen2 {
    Qwen2::load(&folder(), &Device::flex()).expect("the checkpoint loads")
}

fn tokens(n: usize, model: &Qwen2) -> Vec<u32> {
    (0..n).map(|i| (i * 7919 % model.vocabulary()) as u32).collect()
}

fn decode(c: &mut Criterion) {
    let model = load();
    let prompt = tokens(PROMPT, &model);
    c.bench_function("prefill 1 x 100 tokens", |b| b.iter(|| model.prefill(&[&prompt], None).1.into_data()));
    for rows in [1, 8, 32] {
        let mut cache = model.cache(rows, PROMPT + COMPLETION);
        let all: Vec<usize> = (0..rows).collect();
        model.start(&mut cache, &all, &model.prefill(&[&prompt], None).0[0]);
        let next = tokens(rows, &model);
        c.bench_function(&format!("decode 16 tokens of {rows} rows"), |b| {
            b.iter_batched(
                || cache.clone(),
                |mut cache| (0..16).for_each(|_| drop(model.decode(&mut cache, &all, &next).into_data())),
                BatchSize::PerIteration,
            );
        });
    }
}

fn train(c: &mut Criterion) {
    let model = load();
    let prompt = tokens(PROMPT, &model);
    let completion = tokens(COMPLETION, &model);
    let batch = [PromptCompletions { prompt: &prompt, completions: vec![completion.as_slice(); 8] }];
    c.bench_function("log-probs of 8 x 100 tokens, forward", |b| b.iter(|| model.logprobs(&batch, 1.0)));
    c.bench_function("log-probs of 8 x 100 tokens, forward and backward", |b| {
        b.iter(|| {
            let (scores, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
            let ones = scores.iter().map(|s| TokenGradients::of_logprobs(vec![1.0; s.logprobs.len()]));
            let slopes: Vec<TokenGradients> = ones.collect();
            let mut gradients = GradientsParams::new();
            pass.backward(&model, &slopes, &mut gradients);
            gradients.len()
        });
    });
}

/// Sampling, rewards, the reference, and an update, for a group of 8.
fn step(c: &mut Criterion) {
    let config = TrainerConfig { max_completion_length: COMPLETION, ..TrainerConfig::default() };
    let policy = Qwen2Policy::load(&folder(), &Device::flex(), &Qwen2PolicyConfig::default())
        .expect("the checkpoint loads");
    let prompt = tokens(PROMPT, policy.model());
    let even =
        |_: &(), completion: &Completion| if completion.text.len().is_multiple_of(2) { 1.0 } else { 0.0 };
    let mut trainer =
        Trainer::new(policy, Rubric::new().with("even", 1.0, even), config).expect("valid options");
    c.bench_function("a step with 8 x at most 100 tokens", |b| {
        b.iter(|| {
            let problem = Problem { id: 0, prompt: prompt.clone(), messages: vec![], truth: () };
            trainer.step(&[problem]).expect("the step succeeds")
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(10));
    targets = decode, train, step
}
criterion_main!(benches);
