//! Answers of vLLM 0.32, recorded, and answers that are wrong.

use grpo_core::Finish;
use grpo_fleet::protocol::{Group, Listed, ProtocolError, ServerKind, parse_models, parse_weight_version};
use grpo_rollout::{Request, SampleKey, Sampler, Sampling};
use serde_json::{Value, json};

const PROMPT: [u32; 5] = [9707, 11, 1879, 0, 358];

fn keys() -> Vec<SampleKey> {
    (0..3).map(|sample| SampleKey { seed: 1, step: 2, problem: 3, sample }).collect()
}

fn sampler(stop: &[u32]) -> Sampler {
    Sampler { sampling: Sampling::default(), stop: stop.to_vec(), max_tokens: 6, batch_rows: 1 }
}

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The answer, if it is one to the request that the fixtures were recorded with.
fn parse(answer: &Value, stop: &[u32]) -> Result<Vec<grpo_rollout::Sample>, ProtocolError> {
    let (keys, sampler) = (keys(), sampler(stop));
    let request = Request { prompt: &PROMPT, keys: &keys };
    let group = Group { model: "base", request, sampler: &sampler, vocabulary: Some(151_936) };
    group.parse(answer.to_string().as_bytes())
}

#[test]
fn what_vllm_answers_is_read() {
    let samples = parse(&fixture("completion"), &[151_645]).unwrap();
    assert_eq!(samples.len(), 3);
    assert_eq!(samples[0].tokens, [138_697, 14_491, 104_931, 131_826, 124_812, 51_257]);
    assert!((samples[0].logprobs[1] - -10.249_095).abs() < 1e-6);
    assert!(samples.iter().all(|sample| sample.finish == Finish::Length && sample.entropies.is_empty()));

    let stopped = parse(&fixture("completion-stopped"), &[104_931, 24_226]).unwrap();
    assert_eq!(stopped[0].tokens, [138_697, 14_491, 104_931], "the stop token is one of the tokens");
    assert_eq!(stopped[0].logprobs.len(), 3);
    let finishes: Vec<Finish> = stopped.iter().map(|sample| sample.finish).collect();
    assert_eq!(finishes, [Finish::Stop, Finish::Stop, Finish::Length]);

    let base = Listed {
        kind: ServerKind::Vllm,
        base: "base".to_string(),
        adapters: vec![],
        positions: Some(512),
        vocabulary: None,
    };
    assert_eq!(parse_models(fixture("models").to_string().as_bytes()).unwrap(), base);
    let listed = parse_models(fixture("models-with-adapters").to_string().as_bytes()).unwrap();
    assert_eq!((listed.base.as_str(), listed.adapters.len()), ("base", 2));
    let version = parse_weight_version(fixture("weight-info").to_string().as_bytes()).unwrap();
    assert_eq!(version.as_deref(), Some("42"));
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let change = |pointer: &str, value: Value| {
        let mut answer = fixture("completion");
        *answer.pointer_mut(pointer).unwrap() = value;
        answer
    };
    for (answer, expected) in [
        (change("/model", json!("base-2")), "by the model `base-2` instead of `base`"),
        (change("/choices/1/index", json!(0)), "3 completions where 3 different ones"),
        (change("/choices/1/index", json!(3)), "3 different ones"),
        (change("/choices", json!([])), "0 completions where 3"),
        (change("/choices/0/prompt_token_ids", json!([1, 2])), "it continues another prompt"),
        (change("/choices/0/token_ids/0", json!(151_936)), "token id 151936 is not in the vocabulary"),
        (change("/choices/0/token_ids", json!([1])), "1 tokens and 6 log-probabilities"),
        (change("/choices/0/token_ids", json!([])), "0 tokens and 6"),
        (
            change("/choices/0/logprobs/token_logprobs/2", Value::Null),
            "None is no log-probability of token 2",
        ),
        (change("/choices/0/logprobs/token_logprobs/2", json!(-9999.0)), "no log-probability"),
        (change("/choices/0/logprobs/token_logprobs/2", json!(0.5)), "no log-probability"),
        // It was cut off by the context, which is shorter than what was asked for.
        (
            {
                let mut answer = change("/choices/0/token_ids", json!([1, 2]));
                *answer.pointer_mut("/choices/0/logprobs/token_logprobs").unwrap() = json!([-1.0, -1.0]);
                answer
            },
            "after 2 tokens, with no reason that was given",
        ),
        (change("/choices/0/finish_reason", json!("stop")), "with no reason that was given"),
        (change("/choices/0/finish_reason", Value::Null), "with no reason that was given"),
        // A stop token that did not stop.
        (change("/choices/0/token_ids/3", json!(151_645)), "with no reason that was given"),
    ] {
        let error = parse(&answer, &[151_645]).unwrap_err();
        assert!(error.to_string().contains(expected) && !error.is_transient(), "{expected}: {error}");
    }
    let aborted = parse(&change("/choices/0/finish_reason", json!("abort")), &[151_645]).unwrap_err();
    assert!(aborted.is_transient() && aborted.to_string().contains("abort"), "{aborted}");
    let cut = fixture("completion").to_string();
    let (keys, sampler) = (keys(), sampler(&[151_645]));
    let request = Request { prompt: &PROMPT, keys: &keys };
    let group = Group { model: "base", request, sampler: &sampler, vocabulary: None };
    for length in [0, 1, 100, cut.len() - 1] {
        let error = group.parse(&cut.as_bytes()[..length]).unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
}

/// Every option is sent: vLLM would take what is missing from the model's files.
#[test]
fn requests_say_everything() {
    let (keys, sampler) = (keys(), sampler(&[7, 9]));
    let request = Request { prompt: &PROMPT, keys: &keys };
    let group = Group { model: "grpo-1", request, sampler: &sampler, vocabulary: None };
    let body: Value = serde_json::from_slice(&group.body(ServerKind::Vllm)).unwrap();
    let seed = body["seed"].as_u64().unwrap();
    let expected = json!({
        "model": "grpo-1", "prompt": PROMPT, "n": 3, "max_tokens": 6, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0,
        "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "ignore_eos": true,
        "stop_token_ids": [7, 9], "logprobs": 0, "return_token_ids": true, "return_tokens_as_token_ids": true,
        "cache_salt": "grpo-1", "seed": seed,
    });
    assert_eq!(body, expected);
    assert!(seed < 1 << 63 && seed.is_multiple_of(1024), "{seed}");
    let others = [1, 2, 3].map(|n| {
        let keys = [SampleKey {
            seed: 1 + u64::from(n == 1),
            step: 2 + u64::from(n == 2),
            problem: 3 + u64::from(n == 3),
            sample: 0,
        }];
        let request = Request { prompt: &PROMPT, keys: &keys };
        let body = Group { request, ..group }.body(ServerKind::Vllm);
        serde_json::from_slice::<Value>(&body).unwrap()["seed"].as_u64().unwrap()
    });
    assert!(others.iter().all(|other| *other != seed), "{others:?}");
    let own: Value = serde_json::from_slice(&group.body(ServerKind::Grpo)).unwrap();
    assert_eq!(own["sample_keys"], json!({ "seed": 1, "step": 2, "problem": 3, "samples": [0, 1, 2] }));
    assert_eq!((&own["return_entropies"], own.get("seed")), (&json!(true), None));
}
