use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grpo_rollout::Sample;
use serde::{Deserialize, Serialize};

/// The tokens of a recorded completion: three lists of little-endian `u16` in base64, 8 bytes of text a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Bytes that each adds to the completion's text, whose end is that of the last one. (A prefill comes before the first.)
    pub lengths: String,
    /// Its negated log-probability in 1/1024 nat, over the whole vocabulary at the temperature of sampling
    /// ([`Draw::logprob`](grpo_rollout::Draw::logprob)).
    pub logprobs: String,
    /// The entropy of that distribution in 1/1024 nat.
    pub entropies: String,
}

/// Units of a nat.
const NAT: f32 = 1024.0;

impl TokenRecord {
    /// The tokens of a sample, which add `lengths` bytes to its text. What is above 64 nats, or is no number, is recorded as 64.
    pub fn new(lengths: &[usize], sample: &Sample) -> Self {
        let nats = |nats: &f32| if nats.is_nan() { u16::MAX } else { (nats * NAT).round() as u16 };
        Self {
            lengths: encode(lengths.iter().map(|length| u16::try_from(*length).unwrap_or(u16::MAX))),
            logprobs: encode(sample.logprobs.iter().map(|logprob| nats(&-logprob))),
            entropies: encode(sample.entropies.iter().map(nats)),
        }
    }
}

fn encode(numbers: impl Iterator<Item = u16>) -> String {
    STANDARD.encode(numbers.flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
}

#[cfg(test)]
mod tests {
    use grpo_core::Finish;

    use super::*;

    #[test]
    fn tokens_are_three_lists_of_numbers() {
        let sample = Sample {
            tokens: vec![7, 8],
            logprobs: vec![-0.5, f32::NEG_INFINITY],
            entropies: vec![2.0, f32::NAN],
            finish: Finish::Stop,
        };
        let TokenRecord { lengths, logprobs, entropies } = TokenRecord::new(&[3, 70_000], &sample);
        assert_eq!(STANDARD.decode(lengths).unwrap(), [3, 0, 255, 255]);
        assert_eq!(STANDARD.decode(logprobs).unwrap(), [0, 2, 255, 255]);
        assert_eq!(STANDARD.decode(entropies).unwrap(), [0, 8, 255, 255]);
    }
}
