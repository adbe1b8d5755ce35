//! The tokens of a completion, as the page shows them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grpo_record::TokenRecord;
use serde::Serialize;

/// The tokens of a text, a number each.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Tokens {
    /// Where each ends, after the end of the one before it, in the units of JavaScript's texts.
    lengths: Vec<usize>,
    /// Negated log-probabilities in 1/64 nat: what can be seen of them.
    logprobs: Vec<u16>,
    /// Entropies in 1/64 nat.
    entropies: Vec<u16>,
}

impl Tokens {
    /// Those of a text; none if they are of another one.
    pub(crate) fn of(record: &TokenRecord, text: &str) -> Option<Self> {
        let bytes = numbers(&record.lengths)?;
        let all: usize = bytes.iter().map(|n| usize::from(*n)).sum();
        let mut rest = text.get(text.len().checked_sub(all)?..)?;
        let mut lengths = Vec::with_capacity(bytes.len());
        for n in bytes {
            let (token, after) = rest.split_at_checked(n.into())?;
            lengths.push(token.encode_utf16().count());
            rest = after;
        }
        let [logprobs, entropies] =
            [&record.logprobs, &record.entropies].map(|nats| seen(nats, lengths.len()));
        Some(Self { lengths, logprobs: logprobs?, entropies: entropies? })
    }
}

/// What can be seen of `n` numbers in 1/1024 nat.
fn seen(nats: &str, n: usize) -> Option<Vec<u16>> {
    let nats = numbers(nats).filter(|nats| nats.len() == n)?;
    Some(nats.into_iter().map(|nats| nats.saturating_add(8) / 16).collect())
}

fn numbers(list: &str) -> Option<Vec<u16>> {
    let bytes = STANDARD.decode(list).ok()?;
    let (pairs, rest) = bytes.as_chunks();
    rest.is_empty().then(|| pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(lengths: &[u16], logprobs: &[u16]) -> TokenRecord {
        let list = |numbers: &[u16]| {
            STANDARD.encode(numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>())
        };
        TokenRecord { lengths: list(lengths), logprobs: list(logprobs), entropies: list(logprobs) }
    }

    #[test]
    fn tokens_end_a_text_and_are_counted_as_javascript_does() {
        let tokens = Tokens::of(&record(&[1, 4, 0], &[0, 1024, u16::MAX]), "prefill a🦀").unwrap();
        assert_eq!(tokens.lengths, [1, 2, 0]);
        assert_eq!(tokens.logprobs, [0, 64, 4095]);
        assert_eq!(tokens.entropies, tokens.logprobs);
    }

    #[test]
    fn tokens_of_another_text_are_not_shown() {
        for record in [record(&[9], &[0]), record(&[1, 3], &[0, 0]), record(&[4], &[0, 0])] {
            assert!(Tokens::of(&record, "a🦀").is_none());
        }
        let broken = TokenRecord { lengths: "?".into(), ..record(&[], &[]) };
        assert!(Tokens::of(&broken, "").is_none());
    }
}
