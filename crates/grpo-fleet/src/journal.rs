//! What was sampled, kept so that a run that is resumed learns from the same.

use std::fs;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use grpo_files::{sha256_of, write_bytes};
use grpo_rollout::{
    Ended, RemoteError, Request, RolloutError, Rollouts, Sample, SampleKey, Sampler, SamplerKind,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::lock;

/// Rollouts whose samples are on the disk before anything is learned from them. What has been sampled before by the same version of the
/// policy, for the same prompts and in the same way, is read instead of being sampled again.
pub struct Journal<R> {
    /// Where samples that are missing come from.
    rollouts: R,
    folder: PathBuf,
    /// Steps that the policy has taken.
    version: u64,
    /// The files with samples of this version.
    of_version: Mutex<Vec<PathBuf>>,
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
    #[error("{path} is damaged: {reason}; remove it, and its step is sampled anew")]
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
    samples: Vec<Vec<Sample>>,
}

impl<R> Journal<R> {
    /// Keeps the samples of `rollouts` in a folder.
    pub fn new(rollouts: R, folder: impl Into<PathBuf>) -> Self {
        Self { rollouts, folder: folder.into(), version: 0, of_version: Mutex::default() }
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
        Ok(Some(entry.samples))
    }

    fn write(&self, path: &Path, entry: &Entry) -> Result<(), JournalError> {
        let entry = serde_json::to_string(entry);
        let written = entry.map_err(io::Error::from).and_then(|entry| {
            fs::create_dir_all(&self.folder)?;
            write_bytes(path, entry)
        });
        written.map_err(|cause| JournalError::Io { path: path.to_owned(), cause })
    }

    fn of_version(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        lock(&self.of_version)
    }

    /// Removes the samples of later versions.
    fn remove_later(&self) -> Result<(), JournalError> {
        let failed = |path: &Path, cause| JournalError::Io { path: path.to_owned(), cause };
        let entries = match fs::read_dir(&self.folder) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|cause| failed(&self.folder, cause))?,
        };
        for entry in entries {
            let path = entry.map_err(|cause| failed(&self.folder, cause))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let version = name.split_once('-').and_then(|(version, _)| version.parse::<u64>().ok());
            if version.is_some_and(|version| version > self.version) {
                fs::remove_file(&path).map_err(|cause| failed(&path, cause))?;
            }
        }
        Ok(())
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

/// Passes samples on as they end, and collects them; none if `receive` has broken.
fn collect(
    requests: &[Request<'_>],
    sample_each: impl FnOnce(&mut dyn FnMut(Ended) -> ControlFlow<()>) -> Result<(), RolloutError>,
    receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
) -> Result<Option<Vec<Vec<Sample>>>, RolloutError> {
    let mut samples: Vec<Vec<Sample>> =
        requests.iter().map(|request| vec![Sample::default(); request.keys.len()]).collect();
    let mut is_broken = false;
    sample_each(&mut |ended| {
        samples[ended.request][ended.index] = ended.sample.clone();
        let flow = receive(ended);
        is_broken |= flow.is_break();
        flow
    })?;
    Ok((!is_broken).then_some(samples))
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
        let kept = self.read(&path, &asked, requests).map_err(RemoteError::new)?;
        self.of_version().push(path.clone());
        let Some(samples) = kept else {
            let sample_each =
                |each: &mut dyn FnMut(Ended) -> _| self.rollouts.sample_each(model, sampler, requests, each);
            let Some(samples) = collect(requests, sample_each, receive)? else { return Ok(()) };
            // They were sampled by a policy that an earlier process may not have come to.
            self.remove_later()
                .and_then(|()| self.write(&path, &Entry { asked, samples }))
                .map_err(RemoteError::new)?;
            return Ok(());
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

    fn refuse(&self) {
        for path in self.of_version().drain(..) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!("{}: {error}; remove it before the run is resumed", path.display());
            }
        }
        self.rollouts.refuse();
    }

    fn follow(&mut self, model: &M, version: u64) {
        self.version = version;
        self.of_version().clear();
        self.rollouts.follow(model, version);
    }
}
