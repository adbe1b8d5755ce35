//! Tokens drawn where the logits are, against those drawn on the host, whose sums are in f64.

use burn::tensor::{Tensor, TensorData};
use grpo_qwen2::Qwen2;
use grpo_rollout::{Decoder, Draw, DrawRequest, Sampling, draw_on_host};
use grpo_test_device::{device, is_cpu};

use crate::common::{TIED, assert_close, load, uniform};

const ROWS: usize = 50;

/// The stated distance from a boundary between two tokens within which either may be drawn.
const EPSILON: f64 = 2e-6;

fn logits(seed: u64, vocabulary: usize, scale: f32) -> Tensor<2> {
    let values: Vec<f32> =
        uniform(seed).take(ROWS * vocabulary).map(|u| scale * (2.0 * u as f32 - 1.0)).collect();
    Tensor::from_data(TensorData::new(values, [ROWS, vocabulary]), &device())
}

/// Requests for `n` tokens, with their rows mixed.
fn requests(seed: u64, n: usize) -> Vec<DrawRequest> {
    uniform(seed).take(n).enumerate().map(|(i, uniform)| DrawRequest { row: i * 7 % ROWS, uniform }).collect()
}

fn both(model: &Qwen2, logits: &Tensor<2>, requests: &[DrawRequest], sampling: &Sampling) -> [Vec<Draw>; 2] {
    [model.draw(logits.clone(), requests, sampling), draw_on_host(logits.clone(), requests, sampling)]
        .map(|draws| draws.into_iter().map(|draw| draw.expect("the logits are finite")).collect())
}

/// The distance of `uniform` from the boundary between two tokens, in the distribution that is not cut off.
fn distance(logits: &[f32], temperature: f32, uniform: f64, [a, b]: [u32; 2]) -> f64 {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let masses: Vec<f64> = logits.iter().map(|z| f64::from((z - max) / temperature).exp()).collect();
    let below: f64 = masses[..a.max(b) as usize].iter().sum();
    (below / masses.iter().sum::<f64>() - uniform).abs()
}

#[test]
fn tokens_are_the_hosts_except_at_boundaries() {
    if is_cpu() {
        return; // there they are drawn on the host
    }
    let model = load(TIED);
    let (mut drawn, mut other) = (0, 0);
    for (seed, vocabulary, temperature) in [(1, 300, 1.0), (2, 330, 0.6), (3, 3001, 1.4)] {
        let (logits, sampling) =
            (logits(seed, vocabulary, 5.0), Sampling { temperature, ..Sampling::default() });
        let values: Vec<f32> = logits.clone().into_data().try_into_vec().unwrap();
        let requests = requests(10 + seed, if vocabulary < 3000 { 9_500 } else { 1_000 });
        let [found, expected] = both(&model, &logits, &requests, &sampling);
        for ((found, expected), request) in found.iter().zip(&expected).zip(&requests) {
            drawn += 1;
            if found.token == expected.token {
                assert_close("log-probability", &[found.logprob], &[expected.logprob], 1e-5);
                assert_close("entropy", &[found.entropy], &[expected.entropy], 1e-4);
                continue;
            }
            other += 1;
            let row = &values[request.row * vocabulary..][..vocabulary];
            let distance = distance(row, temperature, request.uniform, [found.token, expected.token]);
            assert!(
                distance < EPSILON,
                "{request:?}: {found:?} is not {expected:?}, {distance:e} from the boundary"
            );
        }
    }
    assert!(drawn == 20_000 && other <= 20, "{other} of {drawn} tokens are others");
}

/// The vocabulary of Qwen2.5, with most of the mass on a few tokens.
#[test]
fn a_large_vocabulary_changes_nothing() {
    if is_cpu() {
        return;
    }
    const VOCABULARY: usize = 151_936;
    let values: Vec<f32> = uniform(8).take(VOCABULARY).map(|u| 24.0 * (u as f32).powi(3)).collect();
    let logits = Tensor::from_data(TensorData::new(values.clone(), [1, VOCABULARY]), &device());
    let requests: Vec<DrawRequest> =
        uniform(18).take(100).map(|uniform| DrawRequest { row: 0, uniform }).collect();
    let [found, expected] = both(&load(TIED), &logits, &requests, &Sampling::default());
    for ((found, expected), request) in found.iter().zip(&expected).zip(&requests) {
        assert_close("entropy", &[found.entropy], &[expected.entropy], 1e-4);
        if found.token != expected.token {
            let distance = distance(&values, 1.0, request.uniform, [found.token, expected.token]);
            assert!(
                distance < EPSILON,
                "{request:?}: {found:?} is not {expected:?}, {distance:e} from the boundary"
            );
        }
    }
}

#[test]
fn tokens_that_are_cut_off_are_the_hosts() {
    if is_cpu() {
        return; // there they are drawn on the host
    }
    let model = load(TIED);
    let (logits, requests) = (logits(4, 700, 5.0), requests(14, 2000));
    let default = Sampling::default;
    for sampling in [
        Sampling::greedy(),
        Sampling { top_k: Some(1), ..default() },
        Sampling { top_k: Some(40), ..default() },
        Sampling { top_k: Some(5000), ..default() },
        Sampling { top_p: Some(0.8), ..default() },
        Sampling { top_p: Some(1.0), temperature: 0.3, ..default() },
        Sampling { min_p: Some(0.1), ..default() },
        Sampling { top_k: Some(30), top_p: Some(0.7), min_p: Some(0.02), temperature: 1.3 },
    ] {
        let [found, expected] = both(&model, &logits, &requests, &sampling);
        let others = found.iter().zip(&expected).filter(|(f, e)| f.token != e.token).count();
        assert!(others <= 1, "{sampling:?}: {others} tokens are others");
    }
}

#[test]
fn of_equally_probable_tokens_the_first_are_kept() {
    if is_cpu() {
        return; // there they are drawn on the host
    }
    let model = load(TIED);
    // Three levels, each of many tokens.
    let values: Vec<f32> = (0..ROWS * 600).map(|i| [1.0, 3.0, 2.0][i % 3]).collect();
    let logits = Tensor::from_data(TensorData::new(values, [ROWS, 600]), &device());
    for sampling in [
        Sampling::greedy(),
        Sampling { top_k: Some(150), ..Sampling::default() },
        Sampling { top_k: Some(250), ..Sampling::default() },
        Sampling { top_p: Some(0.4), ..Sampling::default() },
        Sampling { top_p: Some(0.75), ..Sampling::default() },
        Sampling { top_k: Some(300), top_p: Some(0.9), ..Sampling::default() },
    ] {
        let [found, expected] = both(&model, &logits, &requests(15, 1000), &sampling);
        let tokens = |draws: &[Draw]| draws.iter().map(|draw| draw.token).collect::<Vec<_>>();
        let others = tokens(&found).iter().zip(tokens(&expected)).filter(|(f, e)| **f != *e).count();
        assert!(others <= 1, "{sampling:?}: {others} tokens are others");
    }
}

#[test]
fn logits_that_are_not_finite_are_refused() {
    let model = load(TIED);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let values: Vec<f32> = (0..2 * 300).map(|i| if i == 450 { bad } else { i as f32 * 0.01 }).collect();
        let logits = Tensor::from_data(TensorData::new(values, [2, 300]), &device());
        let requests = [0, 1].map(|row| DrawRequest { row, uniform: 0.5 });
        for sampling in [Sampling::default(), Sampling::greedy()] {
            let drawn = model.draw(logits.clone(), &requests, &sampling);
            assert!(drawn[0].is_some() && drawn[1].is_none(), "{bad}: {drawn:?}");
        }
    }
}
