//! A real checkpoint against transformers: Qwen2.5-Coder-0.5B-Instruct, as the golden file says, from the folder that the
//! environment variable `GRPO_QWEN_CHECKPOINT` names.

use std::path::{Path, PathBuf};

use grpo_qwen2::{ChatTokenizer, ModelError, Qwen2};
use grpo_rollout::{Decoder, Request, Sample, SampleKey, Sampler, Sampling};
use grpo_test_device::device;
use serde_json::Value;

use crate::chat::messages;
use crate::common::{assert_close, fixture, floats, host, ids, json, list, token_logprobs};

/// The folder of the checkpoint and the golden values.
fn checkpoint() -> (PathBuf, Value) {
    let folder = std::env::var_os("GRPO_QWEN_CHECKPOINT")
        .expect("GRPO_QWEN_CHECKPOINT names the folder of the checkpoint");
    (folder.into(), json(&fixture("qwen2_coder_0_5b.json")))
}

#[test]
#[ignore = "needs GRPO_QWEN_CHECKPOINT, the folder of the real model"]
fn text_matches_transformers() {
    let (folder, golden) = checkpoint();
    let text = ChatTokenizer::read(&folder).unwrap();
    assert_eq!(text.stop, [151643, 151645]);
    for (token, id) in golden["special_tokens"].as_object().unwrap() {
        assert_eq!(text.tokenizer.token_id(token), Some(id.as_u64().unwrap() as u32), "{token}");
    }
    for case in list(&golden["tokenizer"]) {
        let (string, expected) = (case["text"].as_str().unwrap(), ids(&case["ids"]));
        assert_eq!(text.tokenizer.encode(string).unwrap(), expected, "{string:?}");
        assert_eq!(text.tokenizer.decode(&expected), case["decoded"].as_str().unwrap(), "{string:?}");
    }
    for conversation in list(&golden["chat"]) {
        let messages = messages(&conversation["messages"]);
        let generation_prompt = conversation["add_generation_prompt"].as_bool().unwrap();
        let rendered = text.template.render(&messages, generation_prompt).unwrap();
        assert_eq!(rendered, conversation["text"].as_str().unwrap());
        assert_eq!(text.tokenizer.encode(&rendered).unwrap(), ids(&conversation["ids"]));
        if generation_prompt {
            assert_eq!(text.prompt(&messages).unwrap(), ids(&conversation["ids"]));
        }
    }
}

#[test]
#[ignore = "needs GRPO_QWEN_CHECKPOINT, the folder of the real model"]
fn model_matches_transformers() {
    check_model(Qwen2::load);
}

/// The checkpoint is BF16, and is held as such.
#[test]
#[ignore = "needs GRPO_QWEN_CHECKPOINT, the folder of the real model"]
fn frozen_model_matches_transformers() {
    check_model(Qwen2::load_frozen);
}

fn check_model(load: fn(&Path, &burn::tensor::Device) -> Result<Qwen2, ModelError>) {
    let (folder, golden) = checkpoint();
    let model = load(&folder, &device()).unwrap();
    let cases = list(&golden["prompts"]);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let ids = ids(&case["ids"]);
        assert_close(name, &token_logprobs(&model, &ids), &floats(&case["token_logps"]), 1e-3);
        check_top_logits(name, &host(model.prefill(&[&ids], None).1), &case["last_top10"]);
    }
    let prompts: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["ids"])).collect();
    let stop = ids(&golden["eos_token_id"]);
    for (case, sample) in cases.iter().zip(greedy(&model, &prompts, stop)) {
        let name = case["name"].as_str().unwrap();
        assert_eq!(sample.tokens, ids(&case["greedy_ids"]), "{name}");
        assert_close(name, &sample.logprobs, &floats(&case["greedy_logps"]), 1e-3);
    }
}

/// The ten largest logits, their ids in order.
fn check_top_logits(what: &str, logits: &[f32], expected: &Value) {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let top: Vec<u32> = order[..10].iter().map(|i| *i as u32).collect();
    assert_eq!(top, ids(&expected["ids"]), "{what}");
    let found: Vec<f32> = order[..10].iter().map(|i| logits[*i]).collect();
    assert_close(what, &found, &floats(&expected["logits"]), 1e-3);
}

/// Greedy continuations of all prompts in one batch.
fn greedy(model: &Qwen2, prompts: &[Vec<u32>], stop: Vec<u32>) -> Vec<Sample> {
    let sampler = Sampler { sampling: Sampling::greedy(), stop, max_tokens: 48, batch_rows: 8 };
    let keys = [SampleKey { seed: 0, step: 0, problem: 0, sample: 0 }];
    let requests: Vec<Request<'_>> = prompts.iter().map(|prompt| Request { prompt, keys: &keys }).collect();
    sampler.sample(model, &requests).unwrap().concat()
}
