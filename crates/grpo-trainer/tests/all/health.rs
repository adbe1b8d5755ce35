//! A run that goes wrong says so.

use grpo_core::{Completion, Objective, SamplerCorrection};
use grpo_trainer::{Diagnosis, Metrics, Qwen2PolicyConfig, RolloutDtype, TrainerConfig};

use crate::common::{config, even, half, of, problems, trainer, trainer_of, trainer_with};

/// What is said of each of `n` steps.
fn diagnoses(config: TrainerConfig, reward: fn(&u32, &Completion) -> f32, n: usize) -> Vec<Vec<Diagnosis>> {
    let mut trainer = trainer_of(config, reward).unwrap();
    (0..n).map(|_| trainer.step(&problems()).unwrap().diagnoses).collect()
}

/// The steps, from 1, of which `is_said` is said, with the text of the first time.
#[track_caller]
fn said(diagnoses: &[Vec<Diagnosis>], is_said: fn(&Diagnosis) -> bool) -> (Vec<usize>, String) {
    let steps =
        (1..).zip(diagnoses).filter(|(_, of_step)| of_step.iter().any(is_said)).map(|(i, _)| i).collect();
    let text = diagnoses.iter().flatten().find(|diagnosis| is_said(diagnosis)).map(ToString::to_string);
    (steps, text.unwrap_or_default())
}

#[test]
fn a_healthy_run_has_nothing_to_say() {
    // This model never stops, so that is all there is.
    let calm = TrainerConfig { learning_rate: 1e-4, ..config() };
    for of_step in diagnoses(calm, even, 12) {
        assert!(of_step.iter().all(|d| matches!(d, Diagnosis::AllTruncated { .. })), "{of_step:?}");
    }
}

#[test]
fn rewards_without_spread() {
    let (steps, text) =
        said(&diagnoses(config(), |_, _| 1.0, 25), |d| matches!(d, Diagnosis::NoSignal { .. }));
    assert_eq!(steps, [10, 20]);
    assert!(text.contains("for 10 steps") && text.contains("mean 1.00"), "{text}");
}

#[test]
fn completions_that_are_all_cut_off() {
    let short = TrainerConfig { max_completion_length: 2, ..config() };
    let (steps, text) = said(&diagnoses(short, even, 7), |d| matches!(d, Diagnosis::AllTruncated { .. }));
    assert_eq!(steps, [3, 6]);
    assert!(text.contains("cut off at 2 tokens"), "{text}");
}

#[test]
fn a_policy_that_leaves_its_reference_or_stops_to_choose() {
    // The KL term is computed, but weighs nothing.
    let objective = Objective { beta: 1e-12, ..Objective::default() };
    let wild = TrainerConfig { learning_rate: 0.03, max_grad_norm: f64::INFINITY, ..of(objective) };
    let diagnoses = diagnoses(wild, even, 60);
    let (steps, text) = said(&diagnoses, |d| matches!(d, Diagnosis::KlBlowUp { .. }));
    assert!(!steps.is_empty() && text.contains("nats per token, above 1 for 3 steps"), "{steps:?} {text}");
    let (steps, text) = said(&diagnoses, |d| matches!(d, Diagnosis::EntropyCollapse { .. }));
    assert!(!steps.is_empty() && text.contains("over the last 5 steps"), "{steps:?} {text}");
}

/// What is said of a second step whose sampler gave every token another log-probability.
fn second_step(rollout_dtype: RolloutDtype, shift: f32) -> Vec<String> {
    let calm = TrainerConfig { learning_rate: 1e-4, ..config() };
    let mut trainer =
        trainer_with(calm, &Qwen2PolicyConfig { rollout_dtype, ..Qwen2PolicyConfig::default() });
    trainer.step(&problems()).unwrap();
    let (mut experiences, _) = trainer.roll_out(&problems()).unwrap();
    let samples = experiences.groups.iter_mut().flat_map(|group| &mut group.completions);
    samples.flat_map(|e| &mut e.scored.sample.logprobs).for_each(|logprob| *logprob += shift);
    trainer.learn(&experiences).unwrap().diagnoses.iter().map(ToString::to_string).collect()
}

#[test]
fn a_sampler_that_is_not_the_policy() {
    assert_eq!(second_step(RolloutDtype::F32, 0.0), [""; 0]);
    let said = second_step(RolloutDtype::F32, 0.02);
    assert!(
        said.len() == 1 && said[0].starts_with("sampler mismatch: ") && said[0].contains("2.0e-2"),
        "{said:?}"
    );

    let Some(rounded) = half(SamplerCorrection::default()) else { return };
    assert_eq!(second_step(rounded, 0.0), [""; 0]);
    let said = second_step(rounded, 1.0);
    assert!(said.len() == 1 && said[0].contains("sample from the policy itself"), "{said:?}");
}

/// A policy that has diverged computes with such large numbers that rounding alone parts the sampler and the trainer.
#[test]
fn a_learning_rate_that_is_far_too_high_is_no_fault_of_the_sampler() {
    let diagnoses = diagnoses(TrainerConfig { learning_rate: 100.0, ..config() }, even, 6);
    let (steps, text) = said(&diagnoses, |d| matches!(d, Diagnosis::KlBlowUp { .. }));
    assert!(!steps.is_empty() && text.contains("with a lower learning rate"), "{diagnoses:?}");
    let (steps, _) = said(&diagnoses, |d| matches!(d, Diagnosis::SamplerMismatch { .. }));
    assert!(steps.is_empty(), "{diagnoses:?}");
}

#[test]
fn what_was_diagnosed_is_recorded_as_text() {
    let mut trainer = trainer(TrainerConfig { max_completion_length: 2, ..config() });
    let metrics: Vec<Metrics> = (0..3).map(|_| trainer.step(&problems()).unwrap()).collect();
    let json = serde_json::to_value(&metrics[2]).unwrap();
    assert!(json["diagnoses"][0].as_str().unwrap().starts_with("all truncated: "), "{json}");
    assert!(serde_json::to_value(&metrics[1]).unwrap().get("diagnoses").is_none());
}
