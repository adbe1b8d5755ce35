//! One question, one answer.

use grpo_rollout::{Request, SampleKey, Sampler, Sampling};
use grpo_trainer::{Qwen2Policy, Text};

use crate::gsm8k;

/// The most probable answer to a question, of at most `max_tokens` tokens.
pub fn ask(policy: &Qwen2Policy, question: &str, max_tokens: usize) -> anyhow::Result<String> {
    let prompt = policy.prompt(&gsm8k::messages(question))?;
    let sampler = Sampler {
        sampling: Sampling::greedy(),
        stop: policy.text.stop().to_vec(),
        max_tokens,
        batch_rows: 1,
    };
    // A greedy answer depends on no key, but has one.
    let keys = [SampleKey { seed: 0, step: 0, problem: 0, sample: 0 }];
    let samples =
        policy.rollouts.sample(&policy.model, &sampler, &[Request { prompt: &prompt, keys: &keys }])?;
    Ok(policy.text.decode(&samples[0][0].tokens))
}
