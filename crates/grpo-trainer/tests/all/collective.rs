//! Several processes train one policy: here, threads that exchange bytes.

use std::ops::ControlFlow;
use std::sync::{Arc, Barrier, Mutex};

use burn::optim::GradientsParams;
use grpo_core::Completion;
use grpo_qwen2::LoraConfig;
use grpo_reward::Rubric;
use grpo_rollout::{Ended, RemoteError, Request, RolloutError, Rollouts, Sample, Sampler};
use grpo_trainer::{
    AdamW, AdamWConfig, Collective, Evaluation, EvaluationOptions, Experiences, Metrics, MomentsDtype,
    Optimizer, Qwen2PolicyConfig, TrainedQwen2, Trainer, TrainerConfig, TrainerError,
};

use crate::common::{Run, config, even, policy, problems, trainer_of, trainer_with};

/// What all threads have.
struct Exchange {
    all: Barrier,
    given: Mutex<Vec<Vec<u8>>>,
}

struct Thread {
    rank: usize,
    size: usize,
    exchange: Arc<Exchange>,
}

impl Collective for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce(&self, values: &mut [f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        values.fill(0.0);
        for of_one in self.all_gather(&bytes) {
            let numbers = of_one.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes);
            values.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        }
    }

    fn all_gather(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.exchange.given.lock().unwrap()[self.rank] = bytes.to_vec();
        self.exchange.all.wait();
        let all = self.exchange.given.lock().unwrap().clone();
        self.exchange.all.wait();
        all
    }
}

/// Does the same in several threads; the results, by rank.
fn together<V: Send>(size: usize, work: impl Fn(Arc<dyn Collective>) -> V + Sync) -> Vec<V> {
    let given = Mutex::new(vec![Vec::new(); size]);
    let exchange = Arc::new(Exchange { all: Barrier::new(size), given });
    std::thread::scope(|scope| {
        let thread = |rank| {
            let (work, exchange) = (&work, exchange.clone());
            scope.spawn(move || work(Arc::new(Thread { rank, size, exchange })))
        };
        let threads: Vec<_> = (0..size).map(thread).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The result of some steps.
struct Trained {
    metrics: Vec<Metrics>,
    first: Experiences,
    evaluation: Evaluation,
    weights: Vec<u8>,
}

fn train(mut trainer: Run, steps: usize) -> Trained {
    let (first, _) = trainer.roll_out(&problems()).unwrap();
    let step = |_| {
        let (experiences, _) = trainer.roll_out(&problems()).unwrap();
        if trainer.config().lag > 0 {
            trainer.learn_and_sample(&experiences, &problems()).unwrap()
        } else {
            trainer.learn(&experiences).unwrap()
        }
    };
    let metrics = (0..steps).map(step).collect();
    let evaluation = trainer.evaluate(&problems(), &EvaluationOptions::greedy()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    trainer.policy().save(folder.path()).unwrap();
    let name = if trainer.policy().model().has_lora() { "adapter_model" } else { "model" };
    let weights = std::fs::read(folder.path().join(name).with_extension("safetensors")).unwrap();
    Trained { metrics, first, evaluation, weights }
}

fn samples(experiences: &Experiences) -> Vec<&Sample> {
    experiences.iter().map(|experience| &experience.scored.sample).collect()
}

/// Three processes do not divide 18 completions into whole groups, and five have more processes than problems.
#[test]
fn several_processes_train_like_one() {
    let lora = Qwen2PolicyConfig { lora: Some(LoraConfig::default()), ..Qwen2PolicyConfig::default() };
    let optimizer = AdamWConfig { moments_dtype: MomentsDtype::Bf16, ..AdamWConfig::default() };
    let rounded = Qwen2PolicyConfig { optimizer, ..Qwen2PolicyConfig::default() };
    let full = Qwen2PolicyConfig::default;
    for (of_policy, lag) in [(full(), 0), (lora, 0), (full(), 1), (rounded, 0)] {
        let config = TrainerConfig { lag, updates: 2, ..config() };
        let alone = train(trainer_with(config.clone(), &of_policy), 3);
        for size in [2, 3, 5] {
            let all = together(size, |collective| {
                let mut trainer = trainer_with(config.clone(), &of_policy);
                trainer.set_collective(collective);
                train(trainer, 3)
            });
            for one in &all {
                assert_eq!(one.metrics, all[0].metrics);
                assert!(one.weights == all[0].weights, "the weights differ");
                assert_eq!(one.evaluation, all[0].evaluation);
            }
            assert_eq!(samples(&all[0].first), samples(&alone.first), "who samples changes no bit");
            let (found, expected) = (&all[0].metrics[0], &alone.metrics[0]);
            assert_eq!((found.reward, found.num_tokens), (expected.reward, expected.num_tokens));
            let of = |metrics: &Metrics| [metrics.loss, metrics.grad_norm, metrics.kl.unwrap()];
            for (found, expected) in of(found).into_iter().zip(of(expected)) {
                assert!((found - expected).abs() < 1e-5 * expected.abs().max(1e-2), "{found} and {expected}");
            }
        }
    }
}

/// Rounds in another way in one of the processes.
struct Rounding(AdamW, f64);

impl Optimizer<TrainedQwen2> for Rounding {
    fn update(
        &mut self,
        model: &mut TrainedQwen2,
        gradients: GradientsParams,
        learning_rate: f64,
        max_grad_norm: f64,
    ) -> f64 {
        self.0.update(model, gradients, learning_rate, max_grad_norm) * self.1
    }
}

#[test]
fn processes_that_come_to_other_numbers_stop() {
    let errors = together(2, |collective| {
        let factor = 1.0 + collective.rank() as f64 * f64::EPSILON;
        let policy = policy(&Qwen2PolicyConfig::default()).map_optimizer(|adamw| Rounding(adamw, factor));
        let mut trainer = Trainer::new(policy, Rubric::new().with("even", 1.0, even), config()).unwrap();
        trainer.set_collective(collective);
        trainer.step(&problems()).unwrap_err()
    });
    for error in errors {
        assert!(matches!(error, TrainerError::Disagreement { rank: 1, .. }), "{error}");
    }
}

/// Samples nothing.
struct Gone;

impl Rollouts<TrainedQwen2> for Gone {
    fn sample_each(
        &self,
        _: &TrainedQwen2,
        _: &Sampler,
        _: &[Request<'_>],
        _: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        Err(RemoteError::new(std::io::Error::other("gone")).into())
    }
}

/// Otherwise the others would wait for it for ever.
#[test]
fn what_fails_in_one_process_fails_in_all() {
    let of_sampling = together(3, |collective| {
        let mut policy = policy(&Qwen2PolicyConfig::default());
        if collective.rank() == 1 {
            policy.rollouts = Box::new(Gone);
        }
        let mut trainer = Trainer::new(policy, Rubric::new().with("even", 1.0, even), config()).unwrap();
        trainer.set_collective(collective);
        trainer.step(&problems()).unwrap_err().to_string()
    });
    assert_eq!(of_sampling, ["process 1: gone", "gone", "process 1: gone"]);
    let of_scoring = together(2, |collective| {
        let odd = |_: &u32, _: &Completion| f32::NAN;
        let mut trainer = trainer_of(config(), odd).unwrap();
        trainer.set_collective(collective);
        trainer.step(&problems()).unwrap_err().to_string()
    });
    assert!(of_scoring[1] == format!("process 0: {}", of_scoring[0]), "{of_scoring:?}");
}
