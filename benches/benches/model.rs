//! Sampling and training passes of a model.
//!
//! `GRPO_QWEN_CHECKPOINT=<folder> cargo bench --bench model` measures that checkpoint; without the variable it is the tiny
//! random one of the tests, whose figures say nothing about a real model.

use std::path::PathBuf;
use std::time::Duration;

use burn::optim::GradientsParams;
use burn::tensor::Device;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use grpo_qwen2::{Group, Qwen2};
use grpo_rollout::Decoder;

/// Tokens of the prompt and of each completion.
const PROMPT: usize = 100;
const COMPLETION: usize = 100;

fn load() -> Qwen2 {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/grpo-qwen2/tests/fixtures/tiny-qwen2-tied");
    let folder = std::env::var_os("GRPO_QWEN_CHECKPOINT").map_or(PathBuf::from(tiny), PathBuf::from);
    Qwen2::load(&folder, &Device::flex()).expect("the checkpoint loads")
}

fn tokens(n: usize, model: &Qwen2) -> Vec<u32> {
    (0..n).map(|i| (i * 7919 % model.vocabulary()) as u32).collect()
}

fn decode(c: &mut Criterion) {
    let model = load();
    let prompt = tokens(PROMPT, &model);
    c.bench_function("prefill 1 x 100 tokens", |b| {
        b.iter(|| model.prefill(&[&prompt], COMPLETION).1.into_data())
    });
    for rows in [1, 8, 32] {
        let (cache, _) = model.prefill(&[&prompt], COMPLETION);
        let cache = model.select(cache, &vec![0; rows]);
        let next = tokens(rows, &model);
        c.bench_function(&format!("decode 16 tokens of {rows} rows"), |b| {
            b.iter_batched(
                || cache.clone(),
                |mut cache| (0..16).for_each(|_| drop(model.decode(&next, &mut cache).into_data())),
                BatchSize::PerIteration,
            );
        });
    }
}

fn train(c: &mut Criterion) {
    let model = load();
    let prompt = tokens(PROMPT, &model);
    let completion = tokens(COMPLETION, &model);
    let group = [Group { prompt: &prompt, completions: &[completion.as_slice(); 8] }];
    c.bench_function("log-probs of 8 x 100 tokens, forward", |b| b.iter(|| model.score(&group, 1.0)));
    c.bench_function("log-probs of 8 x 100 tokens, forward and backward", |b| {
        b.iter(|| {
            let (scores, pass) = model.forward(&group, 1.0);
            let gradient: Vec<Vec<f32>> = scores.iter().map(|s| vec![1.0; s.logprobs.len()]).collect();
            let mut gradients = GradientsParams::new();
            pass.backward(&model, &gradient, &mut gradients);
            gradients.len()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(10));
    targets = decode, train
}
criterion_main!(benches);
