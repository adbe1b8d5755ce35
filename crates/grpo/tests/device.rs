//! Training on the device that `GRPO_TEST_DEVICE` names, beside the CPU.

use std::path::{Path, PathBuf};

use grpo::{
    Columns, Hub, LoraConfig, Metrics, Problem, Qwen2Policy, Qwen2PolicyConfig, Row, Rubric, Split, Trainer,
    TrainerConfig, questions, resolve_dataset,
};
use grpo_kernels::DeviceMemory;
use grpo_test_device::device;

fn embedded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/embedded").join(name)
}

/// The tokens that were sampled, and the metrics, of some steps of the embedded model.
fn train(device: &grpo::device::Device, lora: Option<LoraConfig>) -> (Vec<Vec<u32>>, Vec<Metrics>) {
    let config = TrainerConfig {
        group_size: 8,
        max_completion_length: 40,
        learning_rate: if lora.is_some() { 3e-3 } else { 3e-4 },
        seed: 1,
        ..TrainerConfig::default()
    };
    let of_policy = Qwen2PolicyConfig { lora, ..Qwen2PolicyConfig::default() };
    let policy = Qwen2Policy::load(&embedded("model"), device, &of_policy).unwrap();
    let rows = resolve_dataset(
        &embedded("problems").display().to_string(),
        &Split::train(),
        &Columns::default(),
        &Hub::from_env().unwrap(),
    )
    .unwrap();
    let questions = questions(&rows[..6], &grpo::TaskConfig::default().system_prompt);
    let problems: Vec<Problem<Row>> = (0..)
        .zip(questions)
        .map(|(id, question)| Problem {
            id,
            prompt: policy.text.prompt(&question.messages).unwrap(),
            messages: question.messages,
            truth: question.truth,
        })
        .collect();
    let mut trainer = Trainer::new(policy, Rubric::gsm8k(), config).unwrap();
    let (mut tokens, mut metrics) = (Vec::new(), Vec::new());
    for problems in problems.chunks(3) {
        let (experiences, _) = trainer.roll_out(problems).unwrap();
        tokens.extend(experiences.iter().map(|experience| experience.scored.sample.tokens.clone()));
        metrics.push(trainer.learn(&experiences).unwrap());
    }
    // A GPU has at least the weights that are trained, and their moments.
    let is_gpu = DeviceMemory::of(device).largest_tensor.is_some();
    assert_eq!(trainer.device_memory().is_some(), is_gpu);
    let trained = std::fs::metadata(embedded("model/model.safetensors")).unwrap().len();
    let least = if of_policy.lora.is_none() { 3 * trained } else { trained };
    assert!(trainer.device_memory().is_none_or(|reserved| (least..1 << 30).contains(&reserved)));
    (tokens, metrics)
}

#[test]
fn first_steps_are_the_cpus() {
    let cpu = grpo::DeviceKind::Cpu.device().unwrap();
    for lora in [None, Some(LoraConfig { rank: 4, ..LoraConfig::default() })] {
        let (expected_tokens, expected) = train(&cpu, lora.clone());
        let (tokens, metrics) = train(&device(), lora.clone());
        assert_eq!(tokens, expected_tokens, "{lora:?}");
        for (found, expected) in metrics.iter().zip(&expected) {
            let error = (found.grad_norm / expected.grad_norm - 1.0).abs();
            assert!(
                error < 1e-5,
                "{lora:?}, step {}: {} is not {}",
                found.step,
                found.grad_norm,
                expected.grad_norm
            );
            assert_eq!(found.reward, expected.reward);
        }
        assert!(expected.iter().any(|metrics| metrics.grad_norm > 0.0));
    }
}
