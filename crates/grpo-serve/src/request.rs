//! What a request for completions asks for.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use grpo_qwen2::{ChatTokenizer, Message};
use grpo_rollout::{SampleKey, Sampler, Sampling};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{ApiError, Worker};

/// A request in the terms of the sampler.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) prompt: Vec<u32>,
    pub(crate) keys: Vec<SampleKey>,
    pub(crate) sampler: Sampler,
    /// Texts that end a completion.
    pub(crate) stop: Vec<String>,
    pub(crate) answer: Wanted,
}

/// What an answer contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) is_chat: bool,
    pub(crate) stream: bool,
    /// The usage at the end of a stream.
    pub(crate) usage: bool,
    pub(crate) logprobs: bool,
    pub(crate) entropies: bool,
    pub(crate) token_ids: bool,
    /// Tokens are named by their ids.
    pub(crate) named_by_ids: bool,
}

/// A JSON value that may be one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// The keys of a request's completions in a training run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleKeys {
    seed: u64,
    step: u64,
    problem: u64,
    samples: Vec<u64>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// The fields of both kinds of requests.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    n: Option<usize>,
    seed: Option<i64>,
    sample_keys: Option<SampleKeys>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    stop: Option<OneOrMany<String>>,
    stop_token_ids: Option<Vec<u32>>,
    ignore_eos: Option<bool>,
    logprobs: Option<Value>,
    top_logprobs: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    return_token_ids: Option<bool>,
    return_tokens_as_token_ids: Option<bool>,
    return_entropies: Option<bool>,
    prompt: Option<Value>,
    messages: Option<Vec<Value>>,
    /// Everything else.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Fields that change no completion here.
const HARMLESS: [&str; 14] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "cache_salt",
    "request_id",
    "priority",
    "parallel_tool_calls",
    "tool_choice",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "verbosity",
];

/// Tokens of a completion if the request does not say (OpenAI's default).
const MAX_TOKENS: usize = 16;
/// The most completions of a request.
const MOST: usize = 1024;

impl Asked {
    /// What the body of a request for text completions, or for a chat completion, asks for.
    pub(crate) fn read(
        body: &[u8],
        is_chat: bool,
        text: &ChatTokenizer,
        worker: &Worker,
    ) -> Result<Self, ApiError> {
        let body: Body = serde_json::from_slice(body)
            .map_err(|e| ApiError::bad(format!("the body cannot be read: {e}")))?;
        body.check_rest()?;
        let prompt = if is_chat { body.conversation(text)? } else { body.tokens(text)? };
        let stop = body.stop_texts()?;
        let room = worker.limits().positions.saturating_sub(prompt.len());
        let most = body.max_completion_tokens.or(body.max_tokens);
        let eos = if body.ignore_eos == Some(true) { &[][..] } else { &text.stop };
        Ok(Self {
            keys: body.keys()?,
            sampler: Sampler {
                sampling: body.sampling()?,
                stop: eos.iter().copied().chain(body.stop_token_ids.iter().flatten().copied()).collect(),
                max_tokens: most.unwrap_or(if is_chat { room.max(1) } else { MAX_TOKENS }),
                batch_rows: worker.limits().rows,
            },
            stop,
            answer: body.wanted(is_chat)?,
            model: body.model.unwrap_or_else(|| worker.name().to_string()),
            prompt,
        })
    }
}

impl Body {
    /// A field that would change completions, and that is not known here, must be off.
    fn check_rest(&self) -> Result<(), ApiError> {
        let is_off = |key: &str, value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => {
                let off = match key {
                    "repetition_penalty" | "length_penalty" => 1.0,
                    "best_of" => self.n.unwrap_or(1) as f64,
                    _ => 0.0,
                };
                number.as_f64() == Some(off)
            }
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => {
                map.is_empty() || (key == "response_format" && map.get("type") == Some(&"text".into()))
            }
            Value::Bool(true) => false,
        };
        let found =
            self.rest.iter().find(|(key, value)| !HARMLESS.contains(&key.as_str()) && !is_off(key, value));
        match found {
            Some((key, _)) => {
                Err(ApiError::bad(format!("`{key}` is not supported by this server: leave it out")))
            }
            None => Ok(()),
        }
    }

    /// The tokens of a text, or those that are given.
    fn tokens(&self, text: &ChatTokenizer) -> Result<Vec<u32>, ApiError> {
        let expected = "`prompt` must be a text or a list of token ids, and not several of them";
        match &self.prompt {
            Some(Value::String(prompt)) => Ok(text.tokenizer.encode(prompt)?),
            Some(Value::Array(list)) => {
                let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
                let ids: Option<Vec<u32>> = match &list[..] {
                    [Value::String(prompt)] => Some(text.tokenizer.encode(prompt)?),
                    [Value::Array(ids)] => ids.iter().map(id).collect(),
                    ids => ids.iter().map(id).collect(),
                };
                ids.ok_or_else(|| ApiError::bad(expected))
            }
            _ => Err(ApiError::bad(expected)),
        }
    }

    /// The tokens of a conversation, up to where the assistant's turn begins.
    fn conversation(&self, text: &ChatTokenizer) -> Result<Vec<u32>, ApiError> {
        let messages = self.messages.iter().flatten().map(message).collect::<Result<Vec<_>, _>>()?;
        if messages.is_empty() {
            return Err(ApiError::bad("`messages` must be a list of at least one message"));
        }
        Ok(text.prompt(&messages)?)
    }

    fn keys(&self) -> Result<Vec<SampleKey>, ApiError> {
        let n = self.n.unwrap_or(1);
        if !(1..=MOST).contains(&n) {
            return Err(ApiError::bad(format!("`n` is {n}: it must be at least 1 and at most {MOST}")));
        }
        let Some(SampleKeys { seed, step, problem, samples }) = &self.sample_keys else {
            let seed = self.seed.map_or_else(any_seed, |seed| seed as u64);
            return Ok((0..n as u64).map(|sample| SampleKey { seed, step: 0, problem: 0, sample }).collect());
        };
        if samples.len() != n {
            return Err(ApiError::bad(format!(
                "`sample_keys` has {} samples, and `n` is {n}",
                samples.len()
            )));
        }
        let key = |sample: &u64| SampleKey { seed: *seed, step: *step, problem: *problem, sample: *sample };
        Ok(samples.iter().map(key).collect())
    }

    /// 0 and, for `top_k`, −1 turn an option off, as in vLLM.
    fn sampling(&self) -> Result<Sampling, ApiError> {
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_k: self.top_k.filter(|k| *k > 0).map(|k| k as usize),
            top_p: self.top_p.filter(|p| *p != 1.0),
            min_p: self.min_p.filter(|p| *p != 0.0),
        };
        sampling.validate().map_err(|error| ApiError::bad(error.to_string()))?;
        Ok(sampling)
    }

    fn stop_texts(&self) -> Result<Vec<String>, ApiError> {
        let stop = match &self.stop {
            None => Vec::new(),
            Some(OneOrMany::One(stop)) => vec![stop.clone()],
            Some(OneOrMany::Many(stop)) => stop.clone(),
        };
        if stop.iter().any(String::is_empty) {
            return Err(ApiError::bad("a text in `stop` is empty: it would end every completion at once"));
        }
        Ok(stop)
    }

    fn wanted(&self, is_chat: bool) -> Result<Wanted, ApiError> {
        let logprobs = match &self.logprobs {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true)) => is_chat,
            Some(number) => !is_chat && number.as_u64() == Some(0),
        };
        let asked =
            self.logprobs.as_ref().is_some_and(|value| !value.is_null() && *value != Value::Bool(false));
        if asked && !logprobs || self.top_logprobs.is_some_and(|n| n > 0) {
            let message = "this server tells the log-probability of the sampled token alone: ask for `logprobs` 0 in \
                           completions, and in chat completions for `logprobs` true without `top_logprobs`";
            return Err(ApiError::bad(message));
        }
        let is = |option: Option<bool>| option.unwrap_or(false);
        Ok(Wanted {
            is_chat,
            stream: is(self.stream),
            usage: self.stream_options.as_ref().is_some_and(|options| options.include_usage),
            logprobs,
            entropies: is(self.return_entropies),
            token_ids: is(self.return_token_ids),
            named_by_ids: is(self.return_tokens_as_token_ids),
        })
    }
}

/// A message whose content is a text, or a list of texts.
fn message(value: &Value) -> Result<Message, ApiError> {
    let expected = "a message must have a `role` and a `content` that is a text";
    let role = value["role"].as_str().ok_or_else(|| ApiError::bad(expected))?;
    let text = |part: &Value| part["text"].as_str().filter(|_| part["type"] == "text").map(str::to_string);
    let content = match &value["content"] {
        Value::String(content) => Some(content.clone()),
        Value::Array(parts) => parts.iter().map(text).collect(),
        _ => None,
    };
    Ok(Message::new(role, &content.ok_or_else(|| ApiError::bad(expected))?))
}

/// A seed for a request that brings none.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
