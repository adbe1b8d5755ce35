//! What a step does in plain numbers: advantages, loss and gradient of a group, and drawing a token.
//!
//! `cargo bench --bench objective`

use criterion::{Criterion, criterion_group, criterion_main};
use grpo_core::{Advantage, LogProbs, Objective};
use grpo_rollout::{SampleKey, Sampling};

/// Tokens of a completion.
const TOKENS: usize = 256;
/// Entries of Qwen2.5's vocabulary.
const VOCABULARY: usize = 151_936;

fn key(sample: u64) -> SampleKey {
    SampleKey { seed: 0, step: 0, problem: 0, sample }
}

fn group(c: &mut Criterion) {
    let logprobs = |sample: u64| (0..TOKENS).map(|t| -key(sample).uniform(t)).collect::<Vec<f64>>();
    let completions: Vec<[Vec<f64>; 3]> =
        (0..8).map(|i| [3 * i, 3 * i + 1, 3 * i + 2].map(logprobs)).collect();
    let objective = Objective::default();
    c.bench_function("advantages, loss and gradient of 8 x 256 tokens", |b| {
        b.iter(|| {
            let advantages = Advantage::default().of_group(&[2.5, 0.0, 0.5, 0.5, 2.0, 0.125, 0.0, 0.0]);
            let terms = completions.iter().zip(&advantages).map(|([current, old, reference], advantage)| {
                let logprobs = LogProbs::new(current, old).and_then(|l| l.with_reference(reference));
                let logprobs = logprobs.expect("all have the same length");
                objective
                    .completion_loss(logprobs, &[f64::from(*advantage); TOKENS])
                    .expect("there is a reference")
            });
            terms.collect::<Vec<_>>()
        });
    });
}

fn draw(c: &mut Criterion) {
    let logits: Vec<f32> = (0..VOCABULARY).map(|i| 10.0 * key(0).uniform(i) as f32).collect();
    let truncated = Sampling { top_k: Some(50), top_p: Some(0.9), ..Sampling::default() };
    for (name, sampling) in [("whole distribution", Sampling::default()), ("top-k 50, top-p 0.9", truncated)]
    {
        let mut token = 0;
        c.bench_function(&format!("draw a token of 151936: {name}"), |b| {
            b.iter(|| {
                token += 1;
                sampling.draw(&logits, key(1).uniform(token))
            });
        });
    }
}

criterion_group!(benches, group, draw);
criterion_main!(benches);
