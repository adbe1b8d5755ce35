//! From the tokens of completions to pieces of text that can be given to a client.

use grpo_core::Finish;
use grpo_qwen2::{ChatTokenizer, TextStream};
use grpo_rollout::{Draw, Drawn};

/// What a token adds to a completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The completion's index in its request.
    pub index: usize,
    /// The token.
    pub draw: Draw,
    /// The text that can be given. That of the token may come later, or not at all if it belongs to a stop string.
    pub text: String,
    /// How the completion has ended; none if it continues.
    pub ended: Option<Ended>,
}

/// How a completion has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By this stop token.
    StopToken(u32),
    /// By this text, which is not part of it.
    StopText(String),
    /// By its length.
    Length,
}

/// The texts of the completions of a request.
pub struct Texts<'a> {
    texts: Vec<Option<TextStream<'a>>>,
    /// By completion, text that may be the beginning of a stop string.
    held: Vec<String>,
    stop: &'a [String],
}

impl<'a> Texts<'a> {
    /// The texts of `n` completions, each of which ends where one of `stop` appears.
    pub fn new(text: &'a ChatTokenizer, n: usize, stop: &'a [String]) -> Self {
        let texts = (0..n).map(|_| Some(TextStream::new(text))).collect();
        Self { texts, held: vec![String::new(); n], stop }
    }

    /// What a token adds; none if its completion has ended already, and an error if the logits were not finite.
    pub fn push(&mut self, Drawn { index, draw, finish, .. }: Drawn) -> Result<Option<Piece>, NotFinite> {
        let draw = draw.ok_or(NotFinite)?;
        let Some(text) = &mut self.texts[index] else { return Ok(None) };
        let held = &mut self.held[index];
        held.push_str(&text.push(draw.token));
        let mut ended = finish.map(|finish| match finish {
            Finish::Stop => Ended::StopToken(draw.token),
            Finish::Length => Ended::Length,
        });
        if ended.is_some() {
            held.push_str(&self.texts[index].take().map(TextStream::end).unwrap_or_default());
        }
        let first = self.stop.iter().filter_map(|stop| Some((held.find(stop)?, stop))).min();
        if let Some((at, stop)) = first {
            held.truncate(at);
            self.texts[index] = None;
            ended = Some(Ended::StopText(stop.clone()));
        }
        let given = if ended.is_some() { held.len() } else { held.len() - unsure(held, self.stop) };
        let rest = held.split_off(given);
        Ok(Some(Piece { index, draw, text: std::mem::replace(held, rest), ended }))
    }
}

/// The logits of a token are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite;

/// The bytes at the end of a text with which a stop string may begin.
fn unsure(text: &str, stop: &[String]) -> usize {
    let begins = |length: &usize| {
        text.get(text.len() - length..).is_some_and(|end| stop.iter().any(|stop| stop.starts_with(end)))
    };
    let longest = stop.iter().map(|stop| stop.len().saturating_sub(1)).max().unwrap_or(0);
    (1..=longest.min(text.len())).rev().find(begins).unwrap_or(0)
}
