//! One question, one answer.

use grpo_rollout::{Noise, Request, Sampler, Sampling};
use grpo_trainer::{Policy, Qwen2Policy};

use crate::gsm8k;

/// The most probable answer to a question, of at most `max_tokens` tokens.
pub fn ask(policy: &Qwen2Policy, question: &str, max_tokens: usize) -> anyhow::Result<String> {
    let prompt = policy.prompt(&gsm8k::messages(question))?;
    let sampler =
        Sampler { sampling: Sampling::greedy(), stop: policy.stop().to_vec(), max_tokens, batch_rows: 1 };
    // Greedy answers need no noise, only a place for it.
    let noise = [Noise { seed: 0, step: 0, problem: 0, sample: 0 }];
    let samples = sampler.sample(policy, &[Request { prompt: &prompt, noise: &noise }])?;
    Ok(policy.detokenize(&samples[0][0].tokens))
}
