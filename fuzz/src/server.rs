use std::path::Path;

use grpo_core::Finish;
use grpo_fleet::protocol::{Group, parse_models, parse_weight_version};
use grpo_rollout::{Request, SampleKey, Sampler, Sampling};

use crate::Target;

/// Completions of the prompt 5 6, one of which ended by the stop token 9.
const COMPLETIONS: &str = r#"{"model":"grpo-1","choices":[
    {"index":1,"finish_reason":"length","token_ids":[1,2,3],"prompt_token_ids":[5,6],"logprobs":{"token_logprobs":[-0.5,-1,0]}},
    {"index":0,"finish_reason":"stop","token_ids":[4,9],"logprobs":{"token_logprobs":[-2.5e-3,-7.25]},"entropies":[0.1,0.2]}]}"#;

const MODELS: &str = r#"{"data":[{"id":"base","owned_by":"vllm","parent":null,"max_model_len":512},{"id":"grpo-1","parent":"base"}]}"#;

/// Answers of an inference server.
pub fn server() -> Target {
    Target {
        name: "server",
        files: vec![
            ("completions".into(), COMPLETIONS.into()),
            ("models".into(), MODELS.into()),
            ("weight_info".into(), r#"{"weight_version":"grpo-1"}"#.into()),
        ],
        read,
    }
}

fn read(folder: &Path, file: &str) -> bool {
    let answer = std::fs::read(folder.join(file)).expect("the file has been written");
    match file {
        "completions" => read_completions(&answer),
        "models" => parse_models(&answer).is_ok(),
        _ => parse_weight_version(&answer).is_ok(),
    }
}

/// What is not refused is what was asked for.
fn read_completions(answer: &[u8]) -> bool {
    let keys = [0, 1].map(|sample| SampleKey { seed: 0, step: 0, problem: 0, sample });
    let sampler = Sampler { sampling: Sampling::default(), stop: vec![9], max_tokens: 3, batch_rows: 1 };
    let request = Request { prompt: &[5, 6], keys: &keys };
    let group = Group { model: "grpo-1", request, sampler: &sampler, vocabulary: Some(10) };
    let Ok(samples) = group.parse(answer) else { return false };
    assert_eq!(samples.len(), keys.len());
    for sample in samples {
        let n = sample.tokens.len();
        assert!((1..=3).contains(&n) && sample.logprobs.len() == n, "{sample:?}");
        assert!(sample.tokens.iter().all(|token| *token < 10), "{sample:?}");
        assert!(sample.logprobs.iter().all(|logprob| logprob.is_finite()), "{sample:?}");
        assert_eq!(sample.finish == Finish::Stop, sample.tokens[n - 1] == 9, "{sample:?}");
    }
    true
}
