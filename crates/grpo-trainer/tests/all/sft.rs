//! Supervised fine-tuning.

use grpo_core::{Normalization, Objective};
use grpo_rollout::PromptCompletions;
use grpo_trainer::{
    Demonstration, Qwen2Policy, Qwen2PolicyConfig, Sft, SftConfig, SftUpdate, TrainerConfig, TrainerError,
};

use crate::common::{assert_close, config, of, policy, problems, trainer};

fn demonstrations() -> Vec<Demonstration> {
    let of = |(id, length): (u32, u32)| Demonstration {
        prompt: vec![id + 3; 4],
        completion: (0..length).map(|i| 40 + 7 * id + i).collect(),
    };
    [(0, 5), (1, 1), (2, 9), (3, 4), (4, 6)].into_iter().map(of).collect()
}

fn fit(policy: &mut Qwen2Policy, demonstrations: &[Demonstration], config: &SftConfig) -> Vec<SftUpdate> {
    let mut fit = Sft::new(demonstrations, config).unwrap();
    let updates: Vec<SftUpdate> = std::iter::from_fn(|| fit.update(policy).unwrap()).collect();
    assert_eq!(updates.len() as u64, fit.updates());
    updates
}

fn logprobs(policy: &Qwen2Policy, demonstrations: &[Demonstration]) -> Vec<f32> {
    let prompts: Vec<_> = demonstrations
        .iter()
        .map(|d| PromptCompletions { prompt: &d.prompt, completions: vec![&d.completion[..]] })
        .collect();
    policy.model().logprobs(&prompts, 1.0).into_iter().flat_map(|tokens| tokens.logprobs).collect()
}

/// The policy gradient is the same if every token has the advantage 1 and the mean is over tokens.
#[test]
fn its_gradient_is_the_policy_gradient_of_equal_advantages() {
    let objective = Objective { beta: 0.0, normalization: Normalization::Token, ..Objective::default() };
    let mut trainer = trainer(TrainerConfig { group_size: 2, ..of(objective) });
    let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
    let mut demonstrations = Vec::new();
    for group in &mut experiences.groups {
        for experience in &mut group.completions {
            experience.advantage = 1.0;
            let completion = experience.scored.sample.tokens.clone();
            demonstrations.push(Demonstration { prompt: group.prompt.clone(), completion });
        }
    }
    let metrics = trainer.learn(&experiences).unwrap();

    let mut policy = policy(&Qwen2PolicyConfig::default());
    let before = logprobs(&policy, &demonstrations);
    let sft = SftConfig {
        epochs: 1,
        batch_size: demonstrations.len(),
        learning_rate: config().learning_rate,
        ..SftConfig::default()
    };
    let updates = fit(&mut policy, &demonstrations, &sft);
    assert_eq!((updates.len(), updates[0].tokens), (1, before.len()));
    let mean = before.iter().map(|logprob| f64::from(*logprob)).sum::<f64>() / before.len() as f64;
    assert!((updates[0].loss + mean).abs() < 1e-6, "{} {mean}", updates[0].loss);
    assert!((updates[0].grad_norm / metrics.grad_norm - 1.0).abs() < 1e-5, "{updates:?} {metrics:?}");
    assert_close(&logprobs(&policy, &demonstrations), &logprobs(trainer.policy(), &demonstrations), 2e-3);
}

#[test]
fn every_demonstration_is_learned_once_per_epoch() {
    let (demonstrations, mut policy) = (demonstrations(), policy(&Qwen2PolicyConfig::default()));
    let sft = SftConfig { epochs: 30, batch_size: 4, learning_rate: 3e-3, ..SftConfig::default() };
    let updates = fit(&mut policy, &demonstrations, &sft);
    assert_eq!(updates.len(), 38); // 150 uses in batches of 4, the last of 2
    let tokens: usize = demonstrations.iter().map(|d| d.completion.len()).sum();
    assert_eq!(updates.iter().map(|update| update.tokens).sum::<usize>(), 30 * tokens);
    assert!(updates[0].loss > 5.0 && updates[37].loss < 0.5, "{updates:?}");
    let rates: Vec<f64> = updates.iter().map(|update| update.learning_rate).collect();
    assert!(rates[0] == 3e-3 && (rates[37] - 3e-3 / 38.0).abs() < 1e-12, "{rates:?}");
}

#[test]
fn micro_batches_do_not_change_the_result() {
    let run = |micro_batch_tokens| {
        let (demonstrations, mut policy) = (demonstrations(), policy(&Qwen2PolicyConfig::default()));
        let sft = SftConfig { batch_size: 5, micro_batch_tokens, ..SftConfig::default() };
        let updates = fit(&mut policy, &demonstrations, &sft);
        (updates[0].grad_norm, logprobs(&policy, &demonstrations))
    };
    let (norm, whole) = run(100_000);
    let (of_parts, parts) = run(1);
    assert!((of_parts / norm - 1.0).abs() < 1e-4, "{norm} {of_parts}");
    assert_close(&parts, &whole, 2e-3);
}

#[test]
fn what_cannot_be_learned_is_refused() {
    let demonstrations = demonstrations();
    assert!(matches!(Sft::new(&[], &SftConfig::default()), Err(TrainerError::NoProblems)));
    for (name, config) in [
        ("epochs", SftConfig { epochs: 0, ..SftConfig::default() }),
        ("epochs", SftConfig { epochs: u64::MAX, ..SftConfig::default() }),
        ("batch_size", SftConfig { batch_size: 0, ..SftConfig::default() }),
        ("micro_batch_tokens", SftConfig { micro_batch_tokens: 0, ..SftConfig::default() }),
        ("learning_rate", SftConfig { learning_rate: f64::NAN, ..SftConfig::default() }),
        ("max_grad_norm", SftConfig { max_grad_norm: 0.0, ..SftConfig::default() }),
    ] {
        let error = Sft::new(&demonstrations, &config).err().unwrap().to_string();
        assert!(error.contains(name), "{name}: {error}");
    }
    // A rate at which weights overflow: the update after changes none, and says which it is.
    let mut policy = policy(&Qwen2PolicyConfig::default());
    let config = SftConfig { learning_rate: 1e38, batch_size: 2, ..SftConfig::default() };
    let mut fit = Sft::new(&demonstrations, &config).unwrap();
    let error = std::iter::from_fn(|| fit.update(&mut policy).transpose()).find_map(Result::err).unwrap();
    assert!(matches!(error, TrainerError::NotFinite { update: 2 }), "{error}");
}
