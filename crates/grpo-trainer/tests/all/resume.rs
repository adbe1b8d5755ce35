//! A run that is stopped and resumed is the same as one that was never interrupted.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use grpo_core::{Objective, SamplerCorrection};
use grpo_qwen2::{LoraConfig, LoraTarget};
use grpo_reward::Rubric;
use grpo_trainer::{
    AdamWConfig, Checkpoint, CheckpointError, Checkpoints, CompletionRecord, Metrics, MomentsDtype,
    ProblemText, Qwen2PolicyConfig, ReferenceSync, RunLog, Schedule, Times, Trainer, TrainerConfig,
};

use crate::common::{Run, config, even, half, of, policy, problems, qwen3, trainer, trainer_with};

fn checkpoints(folder: &Path) -> Checkpoints {
    Checkpoints::new(folder.join("checkpoints"), NonZeroUsize::new(2).unwrap())
}

fn saved(trainer: &Run, folder: &Path) -> Checkpoint {
    let checkpoints = checkpoints(folder);
    trainer.save_checkpoint(&checkpoints, None).unwrap();
    checkpoints.latest(u64::MAX).unwrap().checkpoint.unwrap()
}

fn step(trainer: &mut Run) -> Metrics {
    trainer.step(&problems()).unwrap()
}

/// Every number of what is trained, as its bits.
fn bits(trainer: &Run) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    trainer.policy().save(folder.path()).unwrap();
    let name = if trainer.policy().model().has_lora() { "adapter_model" } else { "model" };
    std::fs::read(folder.path().join(name).with_extension("safetensors")).unwrap()
}

#[track_caller]
fn goes_on(config: &TrainerConfig, of_policy: &Qwen2PolicyConfig) {
    goes_on_from(|| trainer_with(config.clone(), of_policy));
}

/// A step that samples the completions of the next one.
fn step_ahead(trainer: &mut Run) -> Metrics {
    let (experiences, _) = trainer.roll_out(&problems()).unwrap();
    trainer.learn_and_sample(&experiences, &problems()).unwrap()
}

/// Seven steps in one go, and the same with a new trainer after the third and the fifth.
#[track_caller]
fn goes_on_from(fresh: impl Fn() -> Run) {
    let mut whole = fresh();
    let step = if whole.config().lag > 0 { step_ahead } else { step };
    let expected: Vec<Metrics> = (0..7).map(|_| step(&mut whole)).collect();

    let folder = tempfile::tempdir().unwrap();
    let mut parted = fresh();
    let mut found = Vec::new();
    for i in 0..7 {
        if i == 3 || i == 5 {
            let checkpoint = saved(&parted, folder.path());
            assert_eq!(checkpoint.step, i);
            parted = fresh().resume(&checkpoint).unwrap().0;
        }
        found.push(step(&mut parted));
    }
    assert_eq!(found, expected);
    assert!(bits(&parted) == bits(&whole), "not every bit of the weights is the same");
}

#[test]
fn all_weights_go_on_to_the_bit() {
    goes_on(&config(), &Qwen2PolicyConfig::default());
}

#[test]
fn several_updates_and_a_course_of_the_learning_rate_go_on_to_the_bit() {
    let schedule = Schedule::Cosine { steps: 7 };
    let config = TrainerConfig { updates: 2, schedule, warmup_steps: 2, ..config() };
    goes_on(&config, &Qwen2PolicyConfig::default());
}

#[test]
fn adapters_go_on_to_the_bit() {
    // A scale that has no short decimal.
    let lora =
        LoraConfig { rank: 3, alpha: 0.7, targets: vec![LoraTarget::QProj, LoraTarget::DownProj], seed: 5 };
    goes_on(&config(), &Qwen2PolicyConfig { lora: Some(lora), ..Qwen2PolicyConfig::default() });
}

#[test]
fn a_qwen3_goes_on_to_the_bit() {
    for lora in [None, Some(LoraConfig::default())] {
        let of_policy = Qwen2PolicyConfig { lora, ..Qwen2PolicyConfig::default() };
        goes_on_from(|| {
            Trainer::new(qwen3(&of_policy), Rubric::new().with("even", 1.0, even), config()).unwrap()
        });
    }
}

#[test]
fn the_reference_has_the_adapters_that_a_run_continues() {
    let lora = Qwen2PolicyConfig { lora: Some(LoraConfig::default()), ..Qwen2PolicyConfig::default() };
    let config = TrainerConfig { learning_rate: 1e-2, ..config() };
    let mut first = trainer_with(config.clone(), &lora);
    (0..2).for_each(|_| drop(step(&mut first)));
    let folder = tempfile::tempdir().unwrap();
    first.policy().save(folder.path()).unwrap();
    let further = || {
        let policy = policy(&lora).with_adapter(folder.path()).unwrap();
        Trainer::new(policy, Rubric::new().with("even", 1.0, even), config.clone()).unwrap()
    };
    let mut second = further();
    assert!(step(&mut second).kl.unwrap().abs() < 1e-6, "the policy is still the reference");
    let kl = step(&mut second).kl.unwrap();
    assert!(kl > 1e-5, "it has moved away from it: {kl}");
    goes_on_from(further);
    let checkpoint = saved(&second, folder.path());
    match trainer_with(config.clone(), &lora).resume(&checkpoint) {
        Err(CheckpointError::Changed { differences, .. }) => {
            assert_eq!(differences, ["policy.reference.adapters: true -> false"]);
        }
        _ => panic!("its reference is another"),
    }
}

#[test]
fn a_reference_that_moves_goes_on_to_the_bit() {
    let sync = ReferenceSync { steps: 2, mixup_alpha: 0.6 };
    let config = TrainerConfig { reference_sync: Some(sync), ..config() };
    goes_on(&config, &Qwen2PolicyConfig::default());
}

#[test]
fn rollouts_in_half_precision_go_on_to_the_bit() {
    let Some(rollout_dtype) = half(SamplerCorrection::default()) else { return };
    goes_on(&config(), &Qwen2PolicyConfig { rollout_dtype, ..Qwen2PolicyConfig::default() });
}

#[test]
fn moments_in_bf16_go_on_to_the_bit() {
    let optimizer = AdamWConfig { moments_dtype: MomentsDtype::Bf16, ..AdamWConfig::default() };
    goes_on(&config(), &Qwen2PolicyConfig { optimizer, ..Qwen2PolicyConfig::default() });
}

#[test]
fn samples_drawn_ahead_go_on_to_the_bit() {
    goes_on(&TrainerConfig { lag: 1, ..config() }, &Qwen2PolicyConfig::default());
}

#[test]
fn a_changed_configuration_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = trainer(config());
    step(&mut run);
    let checkpoint = saved(&run, folder.path());
    let refused = |trainer: Run| match trainer.resume(&checkpoint) {
        Err(CheckpointError::Changed { differences, .. }) => differences,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it went on"),
    };
    let changed = TrainerConfig { seed: 6, ..of(Objective { beta: 0.5, ..Objective::default() }) };
    assert_eq!(refused(trainer(changed)), ["recipe.objective.beta: 0.04 -> 0.5", "seed: 5 -> 6"]);
    let adamw = AdamWConfig { weight_decay: 0.5, ..AdamWConfig::default() };
    let decayed = Qwen2PolicyConfig { optimizer: adamw, ..Qwen2PolicyConfig::default() };
    let differences = refused(trainer_with(config(), &decayed));
    assert_eq!(differences, ["policy.optimizer.weight_decay: 0.0 -> 0.5"]);
    let policy = crate::common::policy(&Qwen2PolicyConfig::default());
    let other = Trainer::new(policy, Rubric::new().with("even", 2.0, even), config()).unwrap();
    assert_eq!(refused(other), ["rewards.even.weight: 1.0 -> 2.0"]);
    let policy = crate::common::policy(&Qwen2PolicyConfig::default());
    let rubric = Rubric::new().with("even", 1.0, even).version("even", "2").unwrap();
    let other = Trainer::new(policy, rubric, config()).unwrap();
    assert_eq!(refused(other), [r#"rewards.even.version: "" -> "2""#]);
    // What is computed twice is the same to the bit.
    let policy = crate::common::policy(&Qwen2PolicyConfig::default()).with_activation_checkpointing(true);
    let rubric = Rubric::new().with("even", 1.0, even);
    assert!(Trainer::new(policy, rubric, config()).unwrap().resume(&checkpoint).is_ok());
    // With another course of the learning rate every step would have been different.
    let linear = |steps| TrainerConfig { schedule: Schedule::Linear { steps }, ..config() };
    let elsewhere = tempfile::tempdir().unwrap();
    let checkpoint = saved(&trainer(linear(9)), elsewhere.path());
    let error = trainer(linear(99)).resume(&checkpoint).err().unwrap().to_string();
    assert!(error.contains("schedule.num_training_steps: 9 -> 99"), "{error}");
}

#[test]
fn the_record_is_cut_to_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let record = |trainer: &mut Run, log: &mut RunLog| {
        let (experiences, times) = trainer.roll_out(&problems()).unwrap();
        let metrics = trainer.learn(&experiences).unwrap();
        let times = Times::new(times, experiences.tokens, Duration::ZERO);
        let records = CompletionRecord::of_step(metrics.step, &experiences, trainer.rubric(), |_| {
            ProblemText::default()
        });
        log.append(&metrics, &times, &records).unwrap();
    };
    let mut run = trainer(config());
    let mut log = RunLog::open(folder.path()).unwrap();
    record(&mut run, &mut log);
    let checkpoints = checkpoints(folder.path());
    run.save_checkpoint(&checkpoints, Some(&mut log)).unwrap();
    (0..2).for_each(|_| record(&mut run, &mut log));
    let expected = ["metrics.jsonl", "completions.jsonl"].map(read);
    // A line that was cut off by a kill.
    std::fs::write(folder.path().join("metrics.jsonl"), [&expected[0][..], b"{\"step\": 4, \"lo"].concat())
        .unwrap();

    let checkpoint = checkpoints.latest(u64::MAX).unwrap().checkpoint.unwrap();
    let (mut run, position) = trainer(config()).resume(&checkpoint).unwrap();
    let mut log = RunLog::resume(folder.path(), position.unwrap()).unwrap();
    (0..2).for_each(|_| record(&mut run, &mut log));
    assert!(["metrics.jsonl", "completions.jsonl"].map(read) == expected);
    assert_eq!(String::from_utf8(read("times.jsonl")).unwrap().lines().count(), 3);

    std::fs::write(folder.path().join("metrics.jsonl"), "").unwrap();
    let error = RunLog::resume(folder.path(), position.unwrap()).err().unwrap().to_string();
    assert!(error.contains("metrics.jsonl") && error.contains("0 bytes"), "{error}");
}

/// A safetensors file with another first number in one of its tensors.
fn with_first(file: &[u8], tensor: &str, value: f32) -> Vec<u8> {
    let data = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..data]).unwrap();
    let start = data + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    let mut file = file.to_vec();
    file[start..start + 4].copy_from_slice(&value.to_le_bytes());
    file
}

#[test]
fn a_reward_that_hung_and_was_mended_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = trainer(config());
    let expected: Vec<Metrics> = (0..3).map(|_| step(&mut whole)).collect();
    // In the second step it hangs.
    let n = std::sync::atomic::AtomicUsize::new(0);
    let hangs = move |truth: &u32, completion: &grpo_core::Completion| {
        while n.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 18 {
            std::thread::park();
        }
        even(truth, completion)
    };
    let rubric =
        Rubric::new().with("even", 1.0, hangs).with_time_limit(std::time::Duration::from_millis(300));
    let mut first =
        Trainer::new(crate::common::policy(&Qwen2PolicyConfig::default()), rubric, config()).unwrap();
    let mut found = vec![step(&mut first)];
    let error = first.step(&problems()).unwrap_err().to_string();
    assert!(error.contains("reward `even` was still at work after 300ms"), "{error}");
    let mut second = trainer(config()).resume(&saved(&first, folder.path())).unwrap().0;
    found.extend((0..2).map(|_| step(&mut second)));
    assert_eq!(found, expected);
}

#[test]
fn a_damaged_state_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = trainer(config());
    step(&mut run);
    let checkpoint = saved(&run, folder.path());
    let path = checkpoint.path.join("optimizer.safetensors");
    let optimizer = std::fs::read(&path).unwrap();
    let refused = || trainer(config()).resume(&checkpoint).err().unwrap().to_string();
    for (bytes, expected) in
        [(&optimizer[..100], "not a whole safetensors file"), (&b""[..], "not a whole safetensors file")]
    {
        std::fs::write(&path, bytes).unwrap();
        assert!(refused().contains(expected), "{}", refused());
    }
    // Numbers that no optimizer has counted.
    for (tensor, value, expected) in [
        ("model.norm.weight.step", 3.4e38_f32, "is no number of updates"),
        ("model.norm.weight.step", 0.5, "is no number of updates"),
        ("model.norm.weight.exp_avg_sq", -1.0, "mean of squares below 0"),
    ] {
        std::fs::write(&path, with_first(&optimizer, tensor, value)).unwrap();
        assert!(refused().contains(expected), "{}", refused());
    }
    let other = tempfile::tempdir().unwrap();
    let lora = Qwen2PolicyConfig { lora: Some(LoraConfig::default()), ..Qwen2PolicyConfig::default() };
    let mut of_adapters = trainer_with(config(), &lora);
    step(&mut of_adapters);
    std::fs::copy(saved(&of_adapters, other.path()).path.join("optimizer.safetensors"), &path).unwrap();
    assert!(refused().contains("belongs to no weight"), "{}", refused());
    std::fs::write(checkpoint.path.join("state.json"), "{}").unwrap();
    assert!(refused().contains("state.json"), "{}", refused());
}
