//! vLLM's protocol as a function of bytes: requests for groups, and their answers, which are checked.
//!
//! `grpo serve` speaks it, too. There, a request also brings the keys of its completions, and the answer their entropies.

use std::collections::BTreeMap;

use grpo_core::Finish;
use grpo_rollout::{Request, Sample, SampleKey, Sampler};
use serde::Deserialize;
use serde_json::{Value, json};

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// `grpo serve`: the same samples as in this process, to the bit, with entropies.
    Grpo,
    /// vLLM, or a server that speaks its protocol.
    Vllm,
}

/// A model that a server lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What the server is.
    pub kind: ServerKind,
    /// The name of the model without adapters.
    pub base: String,
    /// The names of adapters that are loaded.
    pub adapters: Vec<String>,
    /// The most tokens of a prompt and its completion, if the server says.
    pub positions: Option<usize>,
    /// The number of token ids, if the server says.
    pub vocabulary: Option<usize>,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// It cannot be read: it may have been cut off.
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
    /// A completion was aborted by the server.
    #[error("it aborted a completion ({0})")]
    Aborted(String),
    /// It is an answer to something else, or by another policy.
    #[error("its answer is wrong: {0}")]
    Wrong(String),
}

impl ProtocolError {
    /// Whether another try may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Aborted(_))
    }
}

/// What is asked for: a group of completions by one version of the policy.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// The server's name of the version.
    pub model: &'a str,
    /// The prompt and the keys.
    pub request: Request<'a>,
    /// How tokens are drawn and completions end.
    pub sampler: &'a Sampler,
    /// The number of token ids, if it is known.
    pub vocabulary: Option<usize>,
}

/// The models in the answer of `/v1/models`.
pub fn parse_models(answer: &[u8]) -> Result<Listed, ProtocolError> {
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        id: String,
        owned_by: Option<String>,
        parent: Option<String>,
        max_model_len: Option<usize>,
        vocab_size: Option<usize>,
    }
    let models: Models = read(answer)?;
    let (bases, adapters): (Vec<Model>, Vec<Model>) =
        models.data.into_iter().partition(|model| model.parent.is_none());
    let base = bases.into_iter().next();
    let base = base.ok_or_else(|| ProtocolError::Wrong("it lists no model".to_string()))?;
    Ok(Listed {
        kind: if base.owned_by.as_deref() == Some("grpo") { ServerKind::Grpo } else { ServerKind::Vllm },
        base: base.id,
        adapters: adapters.into_iter().map(|model| model.id).collect(),
        positions: base.max_model_len,
        vocabulary: base.vocab_size,
    })
}

impl Group<'_> {
    /// The body of a request of `/v1/completions`. Every option is in it: what is missing would come from files of the server.
    pub fn body(&self, kind: ServerKind) -> Vec<u8> {
        let Sampler { sampling, stop, max_tokens, .. } = self.sampler;
        let keys = self.request.keys;
        let mut body = json!({
            "model": self.model,
            "prompt": self.request.prompt,
            "n": keys.len(),
            "max_tokens": max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p.unwrap_or(1.0),
            "top_k": sampling.top_k.unwrap_or(0),
            "min_p": sampling.min_p.unwrap_or(0.0),
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "ignore_eos": true,
            "stop_token_ids": stop,
            "logprobs": 0,
            "return_token_ids": true,
            "return_tokens_as_token_ids": true,
            // A prefix that was cached by another version is another prefix.
            "cache_salt": self.model,
        });
        match (kind, keys.first()) {
            (ServerKind::Grpo, Some(SampleKey { seed, step, problem, .. })) => {
                let samples: Vec<u64> = keys.iter().map(|key| key.sample).collect();
                body["sample_keys"] =
                    json!({ "seed": seed, "step": step, "problem": problem, "samples": samples });
                body["return_entropies"] = true.into();
            }
            (ServerKind::Vllm, Some(key)) => body["seed"] = seed(*key).into(),
            (_, None) => {}
        }
        body.to_string().into_bytes()
    }

    /// The samples of an answer, in the order of the keys.
    pub fn parse(&self, answer: &[u8]) -> Result<Vec<Sample>, ProtocolError> {
        let wrong = |reason: String| Err(ProtocolError::Wrong(reason));
        let Completions { model, choices } = read(answer)?;
        if model != self.model {
            return wrong(format!("it is by the model `{model}` instead of `{}`", self.model));
        }
        let n = self.request.keys.len();
        let found = choices.len();
        let choices: BTreeMap<usize, Choice> =
            choices.into_iter().map(|choice| (choice.index, choice)).collect();
        if found != n || choices.len() != n || choices.keys().any(|index| *index >= n) {
            return wrong(format!("it has {found} completions where {n} different ones are expected"));
        }
        choices.into_iter().map(|(index, choice)| self.sample(index, choice)).collect()
    }

    fn sample(&self, index: usize, choice: Choice) -> Result<Sample, ProtocolError> {
        let wrong = |reason: String| Err(ProtocolError::Wrong(format!("completion {index}: {reason}")));
        let Choice { finish_reason, token_ids, prompt_token_ids, logprobs, entropies, .. } = choice;
        if prompt_token_ids.is_some_and(|prompt| prompt != self.request.prompt) {
            return wrong("it continues another prompt".into());
        }
        let n = token_ids.len();
        let logprobs = logprobs.token_logprobs;
        if logprobs.len() != n || entropies.as_ref().is_some_and(|entropies| entropies.len() != n) {
            return wrong(format!("it has {n} tokens and {} log-probabilities", logprobs.len()));
        }
        if let Some(token) = token_ids.iter().find(|id| self.vocabulary.is_some_and(|v| **id as usize >= v)) {
            return wrong(format!("token id {token} is not in the vocabulary"));
        }
        // vLLM writes minus infinity as −9999, which no sampled token has.
        let is_logprob = |logprob: &Option<f64>| logprob.is_some_and(|x| x > -1000.0 && x <= 1e-3);
        if let Some(token) = logprobs.iter().position(|logprob| !is_logprob(logprob)) {
            return wrong(format!("{:?} is no log-probability of token {token}", logprobs[token]));
        }
        if entropies.iter().flatten().any(|entropy| !(0.0..1e3).contains(entropy)) {
            return wrong("an entropy is not finite or negative".into());
        }
        let Sampler { stop, max_tokens, .. } = self.sampler;
        let stopped_at = token_ids.iter().position(|token| stop.contains(token));
        let finish = match (finish_reason.as_deref(), stopped_at) {
            (Some("stop"), Some(at)) if at + 1 == n && n <= *max_tokens => Finish::Stop,
            (Some("length"), None) if n == *max_tokens => Finish::Length,
            (Some("stop" | "length"), _) | (None, _) => {
                return wrong(format!(
                    "it ends ({finish_reason:?}) after {n} tokens, with no reason that was given"
                ));
            }
            (Some(reason), _) => return Err(ProtocolError::Aborted(reason.to_string())),
        };
        let narrow =
            |values: Vec<Option<f64>>| values.into_iter().flatten().map(|value| value as f32).collect();
        Ok(Sample {
            tokens: token_ids,
            logprobs: narrow(logprobs),
            entropies: entropies.unwrap_or_default().into_iter().map(|value| value as f32).collect(),
            finish,
        })
    }
}

#[derive(Deserialize)]
struct Completions {
    model: String,
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    index: usize,
    finish_reason: Option<String>,
    token_ids: Vec<u32>,
    prompt_token_ids: Option<Vec<u32>>,
    logprobs: LogProbs,
    entropies: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct LogProbs {
    token_logprobs: Vec<Option<f64>>,
}

/// The body of a request of `/v1/load_lora_adapter`.
pub fn load_adapter(name: &str, folder: &str) -> Value {
    json!({ "lora_name": name, "lora_path": folder })
}

/// The body of a request of `/v1/unload_lora_adapter`.
pub fn unload_adapter(name: &str) -> Value {
    json!({ "lora_name": name })
}

/// The body of a request of `/collective_rpc` that replaces all weights by those in a folder.
pub fn reload_weights(folder: &str) -> Value {
    json!({ "method": "reload_weights", "kwargs": { "weights_path": folder } })
}

/// The body of a request of `/update_weight_version`.
pub fn update_weight_version(name: &str) -> Value {
    json!({ "new_version": name })
}

/// The version in the answer of `/weight_info`.
pub fn parse_weight_version(answer: &[u8]) -> Result<Option<String>, ProtocolError> {
    let value: Value = read(answer)?;
    Ok(value["weight_version"].as_str().map(str::to_string))
}

/// The seed of a group for a server with a generator of its own, which gives completion `i` this seed plus `i`. Groups are 1,024
/// apart.
fn seed(key: SampleKey) -> u64 {
    let group = SampleKey { sample: u64::MAX, ..key };
    ((group.uniform(0) * (1u64 << 53) as f64) as u64) << 10
}

fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(answer).map_err(|error| ProtocolError::Unreadable(error.to_string()))
}
