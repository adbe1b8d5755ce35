use grpo_core::Finish;

/// A sampled completion. Serialized, its lists are little-endian in base64, so that no bit is lost.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct Sample {
    /// The sampled ids; the last is a stop token if and only if `finish` is [`Finish::Stop`].
    #[cfg_attr(feature = "serde", serde(with = "words"))]
    pub tokens: Vec<u32>,
    /// The log-probability of each token, over the whole vocabulary (see [`Draw::logprob`]).
    ///
    /// [`Draw::logprob`]: crate::Draw::logprob
    #[cfg_attr(feature = "serde", serde(with = "floats"))]
    pub logprobs: Vec<f32>,
    /// The entropy of the distribution that each token was drawn from, in nats (see [`Draw::entropy`]); empty if the sampler does not
    /// tell.
    ///
    /// [`Draw::entropy`]: crate::Draw::entropy
    #[cfg_attr(feature = "serde", serde(with = "floats"))]
    pub entropies: Vec<f32>,
    /// Why the completion ended.
    pub finish: Finish,
}

impl Default for Sample {
    /// A completion that has not begun.
    fn default() -> Self {
        Self { tokens: Vec::new(), logprobs: Vec::new(), entropies: Vec::new(), finish: Finish::Length }
    }
}

#[cfg(feature = "serde")]
mod words {
    use std::borrow::Cow;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(words: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(&*text).map_err(D::Error::custom)?;
        let (words, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(D::Error::custom("a list of numbers is cut off"));
        }
        Ok(words.iter().copied().map(u32::from_le_bytes).collect())
    }
}

#[cfg(feature = "serde")]
mod floats {
    use serde::{Deserializer, Serializer};

    use super::words;

    pub(super) fn serialize<S: Serializer>(floats: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        words::serialize(&floats.iter().map(|float| float.to_bits()).collect::<Vec<u32>>(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        Ok(words::deserialize(deserializer)?.into_iter().map(f32::from_bits).collect())
    }
}
