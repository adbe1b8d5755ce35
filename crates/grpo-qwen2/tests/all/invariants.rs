//! What must not change a result: the cache, the batch, the packing, the order of accumulation. And gradients against
//! finite differences.

use std::collections::BTreeMap;
use std::slice::from_ref;

use burn::optim::GradientsParams;
use grpo_qwen2::{ActivationCheckpointing, Dtype, KvPrompt, Qwen2};
use grpo_rollout::{
    Decoder, PromptCompletions, Request, Sample, SampleKey, Sampler, Sampling, TokenGradients,
};
use grpo_test_device::{device, is_cpu};

use crate::common::{
    CHECKPOINTS, QWEN3, TIED, UNTIED, assert_close, assert_unchanged, by_name, copy_of, files, fixture, host,
    load, random_tokens, read_tensors, uniform, values, write_tensors,
};
use crate::lora::adapted;

/// A prompt and its completions.
struct Case {
    prompt: Vec<u32>,
    completions: Vec<Vec<u32>>,
}

impl Case {
    fn new(seed: u64, prompt: usize, completions: &[usize]) -> Self {
        let completion = |(i, n): (usize, &usize)| random_tokens(1000 * seed + i as u64, *n);
        Self {
            prompt: random_tokens(1000 * seed + 999, prompt),
            completions: completions.iter().enumerate().map(completion).collect(),
        }
    }

    fn tokens(&self) -> PromptCompletions<'_> {
        let completions = self.completions.iter().map(Vec::as_slice).collect();
        PromptCompletions { prompt: &self.prompt, completions }
    }

    /// Every completion with a copy of the prompt.
    fn apart(&self) -> Vec<Case> {
        let alone = |completion: &Vec<u32>| Self {
            prompt: self.prompt.clone(),
            completions: vec![completion.clone()],
        };
        self.completions.iter().map(alone).collect()
    }
}

/// Prompts and completions that differ in length.
fn cases() -> Vec<Case> {
    vec![
        Case::new(1, 7, &[1, 9, 2]),
        Case::new(2, 1, &[5]),
        Case::new(3, 20, &[2, 1, 13, 1]),
        Case::new(4, 3, &[]),
        // These share tiles, in which the shorter ones are padded.
        Case::new(5, 6, &[9, 8, 7]),
        Case::new(6, 5, &[8, 9]),
    ]
}

/// Numbers between -1 and 1 for every token of the completions.
fn functional(cases: &[Case]) -> Vec<Vec<f32>> {
    let mut numbers = uniform(77).map(|u| 2.0 * u as f32 - 1.0);
    let completions = cases.iter().flat_map(|case| &case.completions);
    completions.map(|completion| numbers.by_ref().take(completion.len()).collect()).collect()
}

/// The cases as a batch.
fn batch(cases: &[Case]) -> Vec<PromptCompletions<'_>> {
    cases.iter().map(Case::tokens).collect()
}

fn score(model: &Qwen2, cases: &[Case], temperature: f32) -> Vec<Vec<f32>> {
    let scores = model.logprobs(&batch(cases), temperature);
    scores.into_iter().map(|scores| scores.logprobs).collect()
}

/// Log-probabilities and, into `gradients`, the gradients of their weighted sum.
fn accumulate(
    model: &Qwen2,
    cases: &[Case],
    temperature: f32,
    weights: &[Vec<f32>],
    activation_checkpointing: ActivationCheckpointing,
    gradients: &mut GradientsParams,
) -> Vec<Vec<f32>> {
    let (scores, pass) = model.forward(&batch(cases), temperature, activation_checkpointing);
    let gradient_of_logprobs: Vec<_> = weights.iter().cloned().map(TokenGradients::of_logprobs).collect();
    pass.backward(model, &gradient_of_logprobs, gradients);
    scores.into_iter().map(|scores| scores.logprobs).collect()
}

fn gradients(
    model: &Qwen2,
    cases: &[Case],
    temperature: f32,
    weights: &[Vec<f32>],
) -> BTreeMap<String, Vec<f32>> {
    let mut gradients = GradientsParams::new();
    accumulate(model, cases, temperature, weights, ActivationCheckpointing::Off, &mut gradients);
    by_name(model, &gradients)
}

/// Each weight's gradient to `tolerance` of its largest element.
fn assert_same_gradients(
    what: &str,
    found: &BTreeMap<String, Vec<f32>>,
    expected: &BTreeMap<String, Vec<f32>>,
    tolerance: f32,
) {
    assert!(found.keys().eq(expected.keys()), "{what}");
    for (name, expected) in expected {
        let largest = expected.iter().fold(0f32, |a, b| a.max(b.abs()));
        assert!(largest > 0.0, "{what} {name}: no gradient");
        assert_close(&format!("{what} {name}"), &found[name], expected, tolerance * largest);
    }
}

/// Noises of a group of four.
fn keys_of(problem: u64) -> [SampleKey; 4] {
    [0, 1, 2, 3].map(|sample| SampleKey { seed: 5, step: 1, problem, sample })
}

/// Groups of four completions of prompts of different lengths, which end at different lengths.
fn sample(
    model: &Qwen2,
    prompts: &[(u64, Vec<u32>)],
    temperature: f32,
    batch_rows: usize,
) -> Vec<Vec<Sample>> {
    let sampling = Sampling { temperature, ..Sampling::default() };
    let sampler = Sampler { sampling, stop: (0..64).collect(), max_tokens: 16, batch_rows };
    let keys: Vec<_> = prompts.iter().map(|(problem, _)| keys_of(*problem)).collect();
    let requests: Vec<Request<'_>> =
        prompts.iter().zip(&keys).map(|((_, prompt), keys)| Request { prompt, keys }).collect();
    sampler.sample(model, &requests).unwrap()
}

fn prompts() -> Vec<(u64, Vec<u32>)> {
    [9, 1, 30, 16, 150, 8]
        .iter()
        .enumerate()
        .map(|(i, n)| (i as u64, random_tokens(50 + i as u64, *n)))
        .collect()
}

#[test]
fn cached_decoding_gives_the_logprobs_of_the_full_pass() {
    for (name, temperature) in [(TIED, 1.0), (UNTIED, 0.7), (UNTIED, 1.5), (QWEN3, 0.7)] {
        let model = load(name);
        let prompts = prompts();
        let samples = sample(&model, &prompts, temperature, 64);
        let lengths: Vec<usize> = samples.iter().flatten().map(|s| s.tokens.len()).collect();
        assert!(lengths.contains(&16) && lengths.iter().any(|n| *n < 8), "{lengths:?}");
        let case = |((_, prompt), group): (&(u64, Vec<u32>), &Vec<Sample>)| Case {
            prompt: prompt.clone(),
            completions: group.iter().map(|sample| sample.tokens.clone()).collect(),
        };
        let cases: Vec<Case> = prompts.iter().zip(&samples).map(case).collect();
        let scored = score(&model, &cases, temperature);
        for (sample, scored) in samples.iter().flatten().zip(&scored) {
            assert_close(name, &sample.logprobs, scored, 1e-5);
        }
    }
}

#[test]
fn batches_never_change_a_sample() {
    let half = is_cpu().then(|| ("BF16", load(UNTIED).to_bf16()));
    let models =
        [TIED, UNTIED, QWEN3].map(|name| (name, load(name))).into_iter().chain([("adapters", adapted(TIED))]);
    for (name, model) in models.into_iter().chain(half) {
        let prompts = prompts();
        let expected = sample(&model, &prompts, 1.0, 64);
        for batch_rows in if is_cpu() { vec![1, 3, 5, 17] } else { vec![3] } {
            assert_same_samples(name, &sample(&model, &prompts, 1.0, batch_rows), &expected);
        }
        let reversed: Vec<_> = prompts.iter().rev().cloned().collect();
        let mut found = sample(&model, &reversed, 1.0, 7);
        found.reverse();
        assert_same_samples(name, &found, &expected);
        if !is_cpu() {
            continue; // it takes minutes on software
        }
        for (prompt, expected) in prompts.iter().zip(&expected) {
            assert_same_samples(name, &sample(&model, from_ref(prompt), 1.0, 64), from_ref(expected));
        }
        // More than are decoded together.
        let many: Vec<_> = (0..6).flat_map(|_| prompts.clone()).collect();
        let found = sample(&model, &many, 1.0, 100);
        found.chunks(prompts.len()).for_each(|found| assert_same_samples(name, found, &expected));
    }
}

/// The same tokens and log-probabilities; on the CPU to the bit, and the same entropies.
fn assert_same_samples(what: &str, found: &[Vec<Sample>], expected: &[Vec<Sample>]) {
    assert!(found.iter().map(Vec::len).eq(expected.iter().map(Vec::len)), "{what}");
    let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
    for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert_eq!((&found.tokens, found.finish), (&expected.tokens, expected.finish), "{what}");
        if is_cpu() {
            assert_eq!(bits(&found.logprobs), bits(&expected.logprobs), "{what}");
            assert_eq!(bits(&found.entropies), bits(&expected.entropies), "{what}");
        } else {
            assert_close(what, &found.logprobs, &expected.logprobs, 1e-5);
        }
    }
}

#[test]
fn packing_changes_neither_logprobs_nor_gradients() {
    for (name, temperature) in [(TIED, 1.0), (UNTIED, 0.7), (QWEN3, 1.0)] {
        let model = load(name);
        let (cases, weights) = (cases(), functional(&cases()));
        let mut together = GradientsParams::new();
        let expected =
            accumulate(&model, &cases, temperature, &weights, ActivationCheckpointing::Off, &mut together);
        let together = by_name(&model, &together);
        assert_eq!(score(&model, &cases, temperature), expected, "{name}: score and forward");

        let apart: Vec<Case> = cases.iter().flat_map(Case::apart).collect();
        for (what, parts) in [("prompts alone", cases), ("completions alone", apart)] {
            let (mut sum, mut found) = (GradientsParams::new(), Vec::new());
            let mut rest = weights.as_slice();
            for part in parts.chunks(1) {
                let (own, others) = rest.split_at(part[0].completions.len());
                found.extend(accumulate(
                    &model,
                    part,
                    temperature,
                    own,
                    ActivationCheckpointing::Off,
                    &mut sum,
                ));
                rest = others;
            }
            assert_close(what, &found.concat(), &expected.concat(), 1e-5);
            assert_same_gradients(what, &by_name(&model, &sum), &together, 1e-5);
        }
    }
}

#[test]
fn activation_checkpointing_changes_no_bit() {
    let (model, cases, weights) = (load(UNTIED), cases(), functional(&cases()));
    let pass = |activation_checkpointing| {
        let mut gradients = GradientsParams::new();
        let logprobs = accumulate(&model, &cases, 0.7, &weights, activation_checkpointing, &mut gradients);
        (logprobs, by_name(&model, &gradients))
    };
    assert_eq!(pass(ActivationCheckpointing::EveryLayer), pass(ActivationCheckpointing::Off));
}

#[test]
fn nothing_to_score_is_no_scores_and_no_gradient() {
    let model = load(TIED);
    for cases in [vec![], vec![Case::new(1, 5, &[])], vec![Case::new(1, 5, &[0]), Case::new(2, 3, &[])]] {
        let completions = cases.iter().map(|case| case.completions.len()).sum();
        let nothing: Vec<Vec<f32>> = vec![vec![]; completions];
        assert_eq!(score(&model, &cases, 1.0), nothing);
        let mut gradients = GradientsParams::new();
        assert_eq!(
            accumulate(&model, &cases, 1.0, &nothing, ActivationCheckpointing::EveryLayer, &mut gradients),
            nothing
        );
        assert!(gradients.is_empty());
    }
}

#[test]
#[should_panic(expected = "token id Some(512)")]
fn unknown_tokens_are_not_scored() {
    score(&load(TIED), &[Case { prompt: vec![2], completions: vec![vec![512]] }], 1.0);
}

#[test]
#[should_panic(expected = "a prompt is empty")]
fn completions_of_nothing_are_not_scored() {
    score(&load(TIED), &[Case::new(1, 3, &[2]), Case::new(2, 0, &[2])], 1.0);
}

#[test]
#[should_panic(expected = "temperature is 0")]
fn temperature_zero_has_no_log_probabilities() {
    score(&load(TIED), &cases(), 0.0);
}

#[test]
#[should_panic(expected = "every token of a completion needs one gradient")]
fn gradients_of_other_completions_are_refused() {
    gradients(&load(TIED), &[Case::new(1, 3, &[2, 3])], 1.0, &[vec![1.0; 3], vec![1.0; 2]]);
}

#[test]
fn backward_adds_to_what_is_there() {
    for name in CHECKPOINTS {
        let model = load(name);
        let (cases, weights) = (cases(), functional(&cases()));
        let mut twice = GradientsParams::new();
        for _ in 0..2 {
            accumulate(&model, &cases, 1.0, &weights, ActivationCheckpointing::Off, &mut twice);
        }
        let doubled: Vec<Vec<f32>> = weights.iter().map(|g| g.iter().map(|g| 2.0 * g).collect()).collect();
        let expected = gradients(&model, &cases, 1.0, &doubled);
        assert_same_gradients(name, &by_name(&model, &twice), &expected, 1e-5);
    }
}

/// Three weights of every tensor: the one with the largest gradient and two arbitrary ones.
#[test]
fn gradients_are_finite_differences() {
    for (name, temperature) in [(TIED, 1.0), (UNTIED, 0.7), (QWEN3, 1.0)] {
        let (cases, weights) = (cases(), functional(&cases()));
        let folder = copy_of(name);
        let path = folder.path().join("model.safetensors");
        let mut tensors = read_tensors(&path);
        let mut loss_at = |tensor: &str, index: usize, value: f32| {
            let own = tensors.get_mut(tensor).unwrap();
            let before = own.f32s()[index];
            own.set_f32(index, value);
            write_tensors(&path, &tensors);
            tensors.get_mut(tensor).unwrap().set_f32(index, before);
            let model = Qwen2::load(folder.path(), &device()).unwrap();
            dot(&score(&model, &cases, temperature), &weights)
        };
        let model = load(name);
        let before: BTreeMap<_, _> =
            model.weights().into_iter().map(|(name, w)| (name, values(&w))).collect();
        for (tensor, gradient) in gradients(&model, &cases, temperature, &weights) {
            let magnitude = |i: &usize| gradient[*i].abs();
            let largest = (0..gradient.len()).max_by(|a, b| magnitude(a).total_cmp(&magnitude(b))).unwrap();
            for index in [largest, gradient.len() / 3, gradient.len() - 1] {
                let weight = before[&tensor][index];
                let (low, high) = (weight - STEP, weight + STEP);
                let slope =
                    (loss_at(&tensor, index, high) - loss_at(&tensor, index, low)) / f64::from(high - low);
                let (found, error) = (gradient[index], f64::from(gradient[index]) - slope);
                let tolerance = 2e-3 * f64::from(1f32.max(magnitude(&largest)));
                assert!(error.abs() < tolerance, "{name} {tensor}[{index}]: {found} is not {slope}");
            }
        }
    }
}

/// As on a device whose largest tensor is smaller than the embedding.
#[test]
fn tables_in_several_tensors_change_nothing() {
    for name in CHECKPOINTS {
        let (whole, split) = (load(name), load(name).with_split_tables(100));
        assert_eq!(split.config(), whole.config());
        let scores = |model| score(model, &cases(), 0.7).concat();
        assert_close(name, &scores(&split), &scores(&whole), 5e-5);
        let tokens =
            |model| sample(model, &prompts(), 1.0, 64).concat().into_iter().map(|sample| sample.tokens);
        assert!(tokens(&split).eq(tokens(&whole)), "{name}");
        let weights = functional(&cases());
        let of = |model: &Qwen2| gradients(model, &cases(), 0.7, &weights);
        assert_same_gradients(name, &of(&split), &of(&whole), 2e-5);
        let saved = |model: &Qwen2| {
            let folder = tempfile::tempdir().unwrap();
            model.save(&files(&fixture(name)), folder.path(), Dtype::F32).unwrap();
            std::fs::read(folder.path().join("model.safetensors")).unwrap()
        };
        assert!(saved(&split) == saved(&whole), "{name}");
    }
}

/// How far a weight is moved to either side. Rounding gives an error of about 1e-5 / STEP, curvature one of STEP².
const STEP: f32 = 6e-3;

fn dot(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// A frozen model is held exactly, in half precision (a checkpoint saved in BF16) or not (the random ones are F32).
#[test]
fn a_frozen_model_computes_the_same() {
    for name in CHECKPOINTS {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let folder = tempfile::tempdir().unwrap();
            load(name).save(&files(&fixture(name)), folder.path(), dtype).unwrap();
            let trained = Qwen2::load(folder.path(), &device()).unwrap();
            let frozen = Qwen2::load_frozen(folder.path(), &device()).unwrap();
            let what = format!("{name} {dtype:?}");
            let scores = |model| score(model, &cases(), 0.7).concat();
            assert_unchanged(&what, &scores(&frozen), &scores(&trained));
            let samples = |model| sample(model, &prompts(), 1.0, 64).concat();
            for (frozen, trained) in samples(&frozen).into_iter().zip(samples(&trained)) {
                assert_eq!(frozen.tokens, trained.tokens, "{what}");
                assert_unchanged(&what, &frozen.logprobs, &trained.logprobs);
            }
        }
    }
}

/// A prompt that has been read, and the logits after it and after one more token.
fn read(model: &Qwen2, prompt: &[u32], known: Option<&KvPrompt>) -> (KvPrompt, [Vec<f32>; 2]) {
    let (mut prompts, logits) = model.prefill(&[prompt], known);
    let mut cache = model.cache(1, prompt.len() + 1);
    model.start(&mut cache, &[0], &prompts[0]);
    let next = model.decode(&mut cache, &[0], &[1]);
    (prompts.remove(0), [logits, next].map(host))
}

#[test]
fn what_a_prompt_shares_with_a_known_one_is_the_same_to_the_bit() {
    let (model, other_model) = (load(TIED), load(UNTIED));
    // Of the first prompt's blocks of 256 tokens they share two, two, one and none; and one, because the last token is always read.
    for (shared, more) in [(600, 90), (512, 1), (511, 300), (255, 20), (512, 0)] {
        let first = random_tokens(1, 600);
        let second = [&first[..shared], &random_tokens(2, more)].concat();
        let (known, _) = read(&model, &first, None);
        let (_, alone) = read(&model, &second, None);
        assert_eq!(read(&model, &second, Some(&known)).1, alone, "{shared} of {} tokens", second.len());
        // It is not read again: keys and values of another model would be taken for its own.
        let (wrong, _) = read(&other_model, &first, None);
        let is_taken = is_cpu() && shared.min(second.len() - 1) >= 256;
        assert_eq!(read(&model, &second, Some(&wrong)).1 != alone, is_taken, "{shared} tokens");
    }
}
