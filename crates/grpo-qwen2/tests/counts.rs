//! What decoding and training ask of a device: launches, synchronizations, bytes. In a process of its own, since launches are
//! counted per process. The CPU has no launches.

#![allow(clippy::print_stdout)] // the figures of docs/devices.md

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::optim::GradientsParams;
use cubecl::logging::{LaunchObservation, LaunchObserver};
use grpo_kernels::Transfers;
use grpo_qwen2::{ActivationCheckpointing, Config, Qwen2};
use grpo_rollout::{Decoder, DrawRequest, PromptCompletions, Sampling, TokenGradients};
use grpo_test_device::{device, is_cpu};

#[derive(Default)]
struct Launches(Mutex<BTreeMap<&'static str, usize>>);

impl LaunchObserver for Launches {
    fn launched(&self, kernel: &'static str) {
        *self.0.lock().unwrap().entry(kernel).or_default() += 1;
    }
}

/// The launches, by kernel, and the transfers of some work.
fn counted(work: impl FnOnce()) -> (BTreeMap<&'static str, usize>, Transfers) {
    device().sync().unwrap();
    let (launches, before) = (Arc::new(Launches::default()), Transfers::so_far());
    let observation = LaunchObservation::new(launches.clone());
    work();
    device().sync().unwrap();
    drop(observation);
    let launches = launches.0.lock().unwrap().clone();
    (launches, Transfers::so_far().since(before))
}

fn model(layers: usize) -> Qwen2 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-qwen2-tied/config.json");
    Qwen2::init(Config { num_hidden_layers: layers, ..Config::read(&path).unwrap() }, 1, &device())
}

const ROWS: usize = 4;
const TOKENS: usize = 8;

/// Decodes some tokens of some rows.
fn decode(model: &Qwen2) -> (BTreeMap<&'static str, usize>, Transfers) {
    let prompts: Vec<Vec<u32>> = (0..ROWS as u32).map(|i| (2..5 + i).collect()).collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let mut cache = model.cache(ROWS, 10 + 2 * TOKENS);
    for (row, prompt) in model.prefill(&prompts, None).0.iter().enumerate() {
        model.start(&mut cache, &[row], prompt);
    }
    let rows: Vec<usize> = (0..ROWS).collect();
    let requests: Vec<DrawRequest> = (0..ROWS).map(|row| DrawRequest { row, uniform: 0.4 }).collect();
    let mut decode = || {
        for _ in 0..TOKENS {
            let logits = model.decode(&mut cache, &rows, &[7; ROWS]);
            assert!(model.draw(logits, &requests, &Sampling::default()).iter().all(Option::is_some));
        }
    };
    decode();
    counted(decode)
}

/// Bytes of the device's tensors.
fn in_use() -> u64 {
    device().sync().unwrap();
    device().memory_pool_usage().unwrap().bytes_in_use
}

/// The bytes that a forward pass over `2 * tokens` stores for the backward pass.
fn stored(model: &Qwen2, tokens: usize) -> f64 {
    let (prompt, completion) = (vec![3; tokens], vec![5; tokens]);
    let batch = [PromptCompletions { prompt: &prompt, completions: vec![&completion] }];
    let before = in_use();
    let pass = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
    let after = in_use();
    drop(pass);
    (after - before) as f64
}

/// One forward and backward pass.
fn learn(model: &Qwen2) -> (BTreeMap<&'static str, usize>, Transfers) {
    let (prompt, completions) = ([3; 9], [[5; 6], [6; 6]]);
    let batch = [PromptCompletions {
        prompt: &prompt,
        completions: completions.iter().map(|c| c.as_slice()).collect(),
    }];
    let learn = || {
        let (_, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
        let mut gradients = GradientsParams::new();
        pass.backward(model, &[0, 1].map(|_| TokenGradients::of_logprobs(vec![1.0; 6])), &mut gradients);
    };
    learn();
    counted(learn)
}

fn total(launches: &BTreeMap<&'static str, usize>) -> usize {
    launches.values().sum()
}

/// The bounds are 1.1 times what is reached: `docs/devices.md` has the figures.
#[test]
fn work_on_a_device_is_bounded() {
    if is_cpu() {
        return;
    }
    let (one, three) = (model(1), model(3));
    let (short, transfers) = decode(&one);
    let (long, _) = decode(&three);
    let per_layer = (total(&long) - total(&short)) as f64 / (2 * TOKENS) as f64;
    let besides = total(&short) as f64 / TOKENS as f64 - per_layer;
    println!(
        "decoding, per token: {per_layer} launches per layer and {besides} besides; {transfers:?} for {TOKENS} tokens"
    );
    for (kernel, launches) in &long {
        println!(
            "{launches:6} {}",
            cubecl::config::type_name_format(kernel, cubecl::config::TypeNameFormatLevel::Short)
        );
    }
    assert!(per_layer <= 11.0, "{long:#?}");
    assert!(besides <= 4.4, "{short:#?}");
    // Token ids, places, rows and uniform numbers up; four numbers per row down.
    assert_eq!(transfers.reads, TOKENS as u64);
    assert_eq!(transfers.read, (TOKENS * ROWS * 16) as u64);
    assert!(transfers.uploaded <= (TOKENS * ROWS * 24) as u64, "{transfers:?}");

    let (short, transfers) = learn(&one);
    let (long, _) = learn(&three);
    let per_layer = (total(&long) - total(&short)) as f64 / 2.0;
    println!(
        "training, per micro-batch: {per_layer} launches per layer and {} besides; {transfers:?}",
        total(&short) as f64 - per_layer
    );
    assert!(per_layer <= 177.0 && total(&short) as f64 - per_layer <= 58.0, "{long:#?}");
    assert_eq!(transfers.reads, 1);

    let per_token = |model: &Qwen2| (stored(model, 200) - stored(model, 100)) / 200.0;
    let per_layer = (per_token(&three) - per_token(&one)) / 2.0;
    println!("training stores {per_layer} bytes per token and layer for the backward pass");
    assert!(per_layer <= 35_600.0, "{per_layer}");
}
