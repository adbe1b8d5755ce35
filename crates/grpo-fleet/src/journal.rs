//! What was sampled, kept so that a run that is resumed learns from the same.

use std::fs;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grpo_core::Finish;
use grpo_files::{sha256_of, write_bytes};
use grpo_rollout::{
    Ended, RemoteError, Request, RolloutError, Rollouts, Sample, SampleKey, Sampler, SamplerKind,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Rollouts whose samples are on the disk before anything is learned from them. What has been sampled before by the same version of the
/// policy, for the same prompts and in the same way, is read instead of being sampled again.
pub struct Journal<R> {
    /// Where samples that are missing come from.
    rollouts: R,
    folder: PathBuf,
    /// Steps that the policy has taken.
    version: u64,
}

/// Why samples cannot be kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file cannot be written or read.
    #[error("{path}: {cause}; free up space, and resume the run")]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: io::Error,
    },
    /// A file is not as it was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// SHA-256 of everything that was asked for.
    asked: String,
    /// For each request, its samples.
    samples: Vec<Vec<Kept>>,
}

/// A sample: little-endian lists in base64.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    tokens: String,
    logprobs: String,
    entropies: String,
    is_stopped: bool,
}

impl<R> Journal<R> {
    /// Keeps the samples of `rollouts` in a folder.
    pub fn new(rollouts: R, folder: impl Into<PathBuf>) -> Self {
        Self { rollouts, folder: folder.into(), version: 0 }
    }

    fn read(
        &self,
        path: &Path,
        asked: &str,
        requests: &[Request<'_>],
    ) -> Result<Option<Vec<Vec<Sample>>>, JournalError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(JournalError::Io { path: path.to_owned(), cause }),
        };
        let damaged =
            |reason: &str| JournalError::Damaged { path: path.to_owned(), reason: reason.to_string() };
        let entry: Entry = serde_json::from_str(&text).map_err(|error| damaged(&error.to_string()))?;
        let is_complete = entry.samples.len() == requests.len()
            && entry
                .samples
                .iter()
                .zip(requests)
                .all(|(samples, request)| samples.len() == request.keys.len());
        if entry.asked != asked || !is_complete {
            return Err(damaged("it answers something else"));
        }
        let samples =
            |of_request: &Vec<Kept>| of_request.iter().map(Kept::sample).collect::<Option<Vec<_>>>();
        let samples: Option<Vec<Vec<Sample>>> = entry.samples.iter().map(samples).collect();
        Ok(Some(samples.ok_or_else(|| damaged("its numbers cannot be read"))?))
    }

    fn write(&self, path: &Path, asked: String, samples: &[Vec<Sample>]) -> Result<(), JournalError> {
        let kept = samples.iter().map(|of_request| of_request.iter().map(Kept::of).collect()).collect();
        let entry = serde_json::to_string(&Entry { asked, samples: kept });
        let written = entry.map_err(io::Error::from).and_then(|entry| {
            fs::create_dir_all(&self.folder)?;
            write_bytes(path, entry)
        });
        written.map_err(|cause| JournalError::Io { path: path.to_owned(), cause })
    }

    /// The fingerprint of everything that samples depend on.
    fn asked(&self, sampler: &Sampler, requests: &[Request<'_>]) -> String {
        let key =
            |SampleKey { seed, step, problem, sample }: &SampleKey| json!([seed, step, problem, sample]);
        let request = |request: &Request<'_>| {
            json!([request.prompt, request.keys.iter().map(key).collect::<Vec<Value>>()])
        };
        let Sampler { sampling, stop, max_tokens, .. } = sampler;
        let requests: Vec<Value> = requests.iter().map(request).collect();
        sha256_of(json!([self.version, sampling, stop, max_tokens, requests]).to_string().as_bytes())
    }
}

impl<M, R: Rollouts<M>> Rollouts<M> for Journal<R> {
    fn sample_each(
        &self,
        model: &M,
        sampler: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        let asked = self.asked(sampler, requests);
        let path = self.folder.join(format!("{:08}-{}.json", self.version, &asked[..16]));
        let samples = match self.read(&path, &asked, requests).map_err(RemoteError::new)? {
            Some(samples) => samples,
            None => {
                let samples = self.rollouts.sample(model, sampler, requests)?;
                self.write(&path, asked, &samples).map_err(RemoteError::new)?;
                samples
            }
        };
        for (request, samples) in samples.into_iter().enumerate() {
            for (index, sample) in samples.into_iter().enumerate() {
                if receive(Ended { request, index, sample }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn sampler_kind(&self) -> SamplerKind {
        self.rollouts.sampler_kind()
    }

    fn follow(&mut self, model: &M, version: u64) {
        self.version = version;
        self.rollouts.follow(model, version);
    }
}

impl Kept {
    fn of(sample: &Sample) -> Self {
        let floats = |values: &[f32]| {
            STANDARD.encode(values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
        };
        Self {
            tokens: STANDARD.encode(sample.tokens.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()),
            logprobs: floats(&sample.logprobs),
            entropies: floats(&sample.entropies),
            is_stopped: sample.finish == Finish::Stop,
        }
    }

    fn sample(&self) -> Option<Sample> {
        let words = |text: &str| {
            let bytes = STANDARD.decode(text).ok()?;
            let (words, rest) = bytes.as_chunks::<4>();
            rest.is_empty().then(|| words.to_vec())
        };
        let floats = |text| Some(words(text)?.into_iter().map(f32::from_le_bytes).collect());
        Some(Sample {
            tokens: words(&self.tokens)?.into_iter().map(u32::from_le_bytes).collect(),
            logprobs: floats(&self.logprobs)?,
            entropies: floats(&self.entropies)?,
            finish: if self.is_stopped { Finish::Stop } else { Finish::Length },
        })
    }
}
