//! The tiny checkpoints against transformers: logits, log-probabilities, greedy continuations and gradients.

use burn::optim::GradientsParams;
use grpo_qwen2::{ActivationCheckpointing, Config, Qwen2};
use grpo_rollout::{Decoder, PromptCompletions, Request, SampleKey, Sampler, Sampling, TokenGradients};
use serde_json::Value;

use crate::common::{
    CHECKPOINTS, assert_close, by_name, fixture, floats, host, ids, json, list, token_logprobs,
};

fn load(name: &str) -> (Qwen2, Value) {
    (crate::common::load(name), json(&fixture(name).join("golden.json")))
}

#[test]
fn logits_match_transformers() {
    for name in CHECKPOINTS {
        let (model, golden) = load(name);
        for sequence in list(&golden["sequences"]) {
            let ids = ids(&sequence["ids"]);
            let (_, last) = model.prefill(&[&ids], None);
            assert_close(name, &host(last), &floats(&sequence["last_logits"]), 1e-4);
            let Some(all) = sequence.get("logits") else { continue };
            for (i, expected) in list(all).iter().enumerate() {
                let (_, logits) = model.prefill(&[&ids[..=i]], None);
                assert_close(name, &host(logits), &floats(expected), 1e-4);
            }
        }
    }
}

#[test]
fn log_probabilities_match_transformers() {
    for name in CHECKPOINTS {
        let (model, golden) = load(name);
        for sequence in list(&golden["sequences"]) {
            let found = token_logprobs(&model, &ids(&sequence["ids"]));
            assert_close(name, &found, &floats(&sequence["token_logps"]), 1e-4);
        }
    }
}

#[test]
fn greedy_continuations_match_transformers() {
    for name in CHECKPOINTS {
        let (model, golden) = load(name);
        let (prompt, expected) = (ids(&golden["greedy"]["prompt"]), ids(&golden["greedy"]["ids"]));
        let sampler =
            Sampler { sampling: Sampling::greedy(), stop: vec![], max_tokens: expected.len(), batch_rows: 8 };
        let keys = [SampleKey { seed: 0, step: 0, problem: 0, sample: 0 }];
        let samples = sampler.sample(&model, &[Request { prompt: &prompt, keys: &keys }]).unwrap();
        assert_eq!(samples[0][0].tokens, expected, "{name}");
    }
}

#[test]
fn gradients_match_transformers() {
    for name in CHECKPOINTS {
        let (model, golden) = load(name);
        let sequence = &golden["sequences"][2];
        let ids = ids(&sequence["ids"]);
        let n = ids.len() - 1;
        let batch = [PromptCompletions { prompt: &ids[..1], completions: vec![&ids[1..]] }];
        let (scores, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
        let loss = -scores[0].logprobs.iter().sum::<f32>() / n as f32;
        assert!((loss - golden["loss"].as_f64().unwrap() as f32).abs() < 1e-4, "{name}: loss {loss}");
        let mut gradients = GradientsParams::new();
        pass.backward(&model, &[TokenGradients::of_logprobs(vec![-1.0 / n as f32; n])], &mut gradients);

        let expected = golden["gradients"].as_object().unwrap();
        let found = by_name(&model, &gradients);
        assert_eq!(found.len(), expected.len(), "{name}");
        for (weight, found) in found {
            check_gradient(&format!("{name} {weight}"), &found, &expected[&weight]);
        }
    }
}

/// Norm and first elements to 1e-3 relative to the norm; the sum too, which sees every element.
fn check_gradient(what: &str, found: &[f32], expected: &Value) {
    let number = |key: &str| expected[key].as_f64().unwrap();
    let norm = found.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    let sum = found.iter().map(|g| f64::from(*g)).sum::<f64>();
    assert!((norm / number("norm") - 1.0).abs() < 1e-3, "{what}: norm {norm}, expected {}", number("norm"));
    let tolerance = 1e-3 * number("norm");
    assert!((sum - number("sum")).abs() < tolerance, "{what}: sum {sum}, expected {}", number("sum"));
    let first = floats(&expected["first8"]);
    let largest = first.iter().fold(0f32, |a, b| a.max(b.abs()));
    assert_close(what, &found[..first.len()], &first, 1e-3 * largest);
}

#[test]
fn both_config_forms_are_the_same_model() {
    for name in CHECKPOINTS {
        let old = Config::read(&fixture(name).join("config.json")).unwrap();
        let new = Config::read(&fixture(name).join("config.transformers5.json")).unwrap();
        assert_eq!(old, new, "{name}");
    }
}
