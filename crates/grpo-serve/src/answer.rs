//! Answers in OpenAI's form, with vLLM's fields for token ids.

use std::time::{SystemTime, UNIX_EPOCH};

use grpo_qwen2::ChatTokenizer;
use serde_json::{Map, Value, json};

use crate::request::{Asked, Wanted};
use crate::text::{Ended, Piece};

/// What all parts of an answer have in common.
pub(crate) struct Answer<'a> {
    text: &'a ChatTokenizer,
    wanted: Wanted,
    id: String,
    created: u64,
    model: String,
    prompt: &'a [u32],
    /// By completion, what it consists of so far.
    choices: Vec<Choice>,
}

/// A completion.
#[derive(Clone, Default)]
struct Choice {
    text: String,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    entropies: Vec<f32>,
    /// The characters before each token.
    offsets: Vec<usize>,
    characters: usize,
    ended: Option<Ended>,
}

impl Choice {
    fn add(&mut self, piece: &Piece) {
        self.offsets.push(self.characters);
        self.characters += piece.text.chars().count();
        self.text.push_str(&piece.text);
        self.tokens.push(piece.draw.token);
        self.logprobs.push(piece.draw.logprob);
        self.entropies.push(piece.draw.entropy);
        self.ended = piece.ended.clone();
    }
}

impl<'a> Answer<'a> {
    pub(crate) fn new(id: usize, asked: &'a Asked, text: &'a ChatTokenizer) -> Self {
        let (wanted, n) = (asked.answer, asked.keys.len());
        let created = seconds();
        let id = format!("{}-{created}-{id}", if wanted.is_chat { "chatcmpl" } else { "cmpl" });
        let prefill = if wanted.is_chat { text.prefill.clone() } else { String::new() };
        let begun = Choice { text: prefill, ..Choice::default() };
        Self {
            text,
            wanted,
            id,
            created,
            model: asked.model.clone(),
            prompt: &asked.prompt,
            choices: vec![begun; n],
        }
    }

    /// Adds a piece to the whole.
    pub(crate) fn add(&mut self, piece: &Piece) {
        self.choices[piece.index].add(piece);
    }

    /// The whole answer.
    pub(crate) fn whole(&self) -> Value {
        let choices = self.choices.iter().enumerate().map(|(index, choice)| {
            let mut value = self.choice(index, choice);
            if self.wanted.is_chat {
                value.insert("message".into(), json!({ "role": "assistant", "content": choice.text }));
            } else {
                value.insert("text".into(), choice.text.clone().into());
            }
            if self.wanted.token_ids && !self.wanted.is_chat {
                value.insert("prompt_token_ids".into(), json!(self.prompt));
            }
            Value::Object(value)
        });
        let mut answer = self.frame(false, choices.collect());
        answer["usage"] = self.usage();
        if self.wanted.token_ids && self.wanted.is_chat {
            answer["prompt_token_ids"] = json!(self.prompt);
        }
        answer
    }

    /// What the stream of a chat begins with: the role of its answers, and what their prefill is.
    pub(crate) fn beginning(&self) -> Vec<Value> {
        let part = |index| {
            let delta = json!({ "role": "assistant", "content": self.text.prefill });
            json!({ "index": index, "delta": delta, "finish_reason": null })
        };
        let parts = (0..self.choices.len()).filter(|_| self.wanted.is_chat);
        parts.map(|index| self.frame(true, vec![part(index)])).collect()
    }

    /// A part of a stream.
    pub(crate) fn part(&mut self, piece: &Piece) -> Value {
        let before = self.choices[piece.index].characters;
        let mut choice = Choice { characters: before, ..Choice::default() };
        choice.add(piece);
        self.add(piece);
        let mut value = self.choice(piece.index, &choice);
        if self.wanted.is_chat {
            value.insert("delta".into(), json!({ "content": choice.text }));
        } else {
            value.insert("text".into(), choice.text.clone().into());
        }
        self.frame(true, vec![Value::Object(value)])
    }

    /// The end of a stream; none if it was not asked for.
    pub(crate) fn end(&self) -> Option<Value> {
        let mut end = self.frame(true, Vec::new());
        end["usage"] = self.usage();
        self.wanted.usage.then_some(end)
    }

    fn frame(&self, is_part: bool, choices: Vec<Value>) -> Value {
        let object = match (self.wanted.is_chat, is_part) {
            (false, _) => "text_completion",
            (true, false) => "chat.completion",
            (true, true) => "chat.completion.chunk",
        };
        json!({ "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices })
    }

    fn usage(&self) -> Value {
        let sampled: usize = self.choices.iter().map(|choice| choice.tokens.len()).sum();
        let prompt = self.prompt.len();
        json!({ "prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled })
    }

    /// A completion, or a part of it, without its text.
    fn choice(&self, index: usize, choice: &Choice) -> Map<String, Value> {
        let (reason, stopped) = match &choice.ended {
            None => (Value::Null, Value::Null),
            Some(Ended::StopToken(token)) => ("stop".into(), json!(token)),
            Some(Ended::StopText(text)) => ("stop".into(), json!(text)),
            Some(Ended::Length) => ("length".into(), Value::Null),
        };
        let logprobs = if self.wanted.logprobs { self.logprobs(choice) } else { Value::Null };
        let mut value = Map::from_iter([
            ("index".to_string(), json!(index)),
            ("logprobs".to_string(), logprobs),
            ("finish_reason".to_string(), reason),
            ("stop_reason".to_string(), stopped),
        ]);
        if self.wanted.token_ids {
            value.insert("token_ids".into(), json!(choice.tokens));
        }
        if self.wanted.entropies {
            value.insert("entropies".into(), json!(exact(&choice.entropies)));
        }
        value
    }

    fn logprobs(&self, choice: &Choice) -> Value {
        let names: Vec<String> = choice.tokens.iter().map(|token| self.named(*token)).collect();
        if !self.wanted.is_chat {
            return json!({
                "tokens": names,
                "token_logprobs": exact(&choice.logprobs),
                "top_logprobs": null,
                "text_offset": choice.offsets,
            });
        }
        let of_token = |(name, logprob): (&String, f64)| json!({ "token": name, "logprob": logprob, "bytes": name.as_bytes(), "top_logprobs": [] });
        let content: Vec<Value> = names.iter().zip(exact(&choice.logprobs)).map(of_token).collect();
        json!({ "content": content })
    }

    fn named(&self, token: u32) -> String {
        match self.wanted.named_by_ids {
            true => format!("token_id:{token}"),
            false => self.text.tokenizer.decode(&[token]),
        }
    }
}

/// Now, as the protocol has it: seconds since 1970.
pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The same numbers in F64, whose decimals are those of no other F32.
fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}
