//! Files from the Hugging Face Hub, through the cache.

mod client;
mod env;
mod error;
mod fetch;
mod headers;
mod model;
mod repo;
mod retry;

use std::fmt;
use std::path::{Path, PathBuf};

use hf_hub::Cache;

pub use self::error::HubError;
pub(crate) use self::repo::is_id;

use self::client::Token;
use self::fetch::Remote;
use self::model::{
    INDEX, OPTIONAL, REQUIRED, WEIGHTS, check_weights, fetch_optional, first_missing, is_known, shards,
};
use self::repo::Repo;
use crate::load::{load_files, split_files};
use crate::{Columns, Error, Example, Split};

const ENDPOINT: &str = "https://huggingface.co";

/// The progress of a download. Resumed downloads start with what was already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// The file's name in its repository.
    pub file: &'a str,
    /// Bytes on disk.
    pub done: u64,
    /// Bytes of the whole file; equal to the bytes on disk if the server does not say.
    pub total: u64,
}

type Listener = Box<dyn Fn(&Transfer<'_>) + Send + Sync>;

/// The Hugging Face Hub, or a server that speaks its protocol, with a cache on disk.
///
/// The cache has the layout of Hugging Face's own tools and is shared with them. Cached files are used
/// without asking the Hub, so a repository stays as it was when it was fetched; delete its folder in the
/// cache to get a newer version. Offline, a commit that is not marked as the newest is used if it is the only complete
/// one. An interrupted download resumes where it stopped. Transient failures are retried a few times, waiting as long
/// as the server asks, for at most five minutes.
pub struct Hub {
    endpoint: String,
    cache: Cache,
    token: Option<Token>,
    offline: bool,
    progress: Option<Listener>,
}

impl Hub {
    /// The public Hub, without a token, with a cache in this folder.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        let cache = Cache::new(cache.into());
        Self { endpoint: ENDPOINT.to_owned(), cache, token: None, offline: false, progress: None }
    }

    /// Uses another server.
    #[must_use]
    pub fn with_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into().trim_end_matches('/').to_owned();
        self
    }

    /// Sends an access token; it goes only to the endpoint and is never shown.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        let token = token.into().trim().to_owned();
        self.token = (!token.is_empty()).then_some(Token(token));
        self
    }

    /// Uses only what is in the cache.
    #[must_use]
    pub fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Calls `listener` for every chunk that arrives.
    #[must_use]
    pub fn with_progress(mut self, listener: impl Fn(&Transfer<'_>) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(listener));
        self
    }

    /// The folder of a model such as `Qwen/Qwen2.5-0.5B-Instruct`: `config.json`, `tokenizer.json`,
    /// `tokenizer_config.json`, the weights as `model.safetensors` or as `model.safetensors.index.json` with
    /// every file it names, and `generation_config.json`, `chat_template.jinja`, `special_tokens_map.json` and
    /// `added_tokens.json` if the model has them.
    ///
    /// # Errors
    ///
    /// [`HubError`] names the file and what to do.
    pub fn model(&self, id: &str) -> Result<PathBuf, HubError> {
        let repo = Repo::model(id)?;
        let is_whole = |folder: &Path| matches!(first_missing(folder), Ok(None));
        let missing = match self.cached(&repo, is_whole)? {
            Some(folder) => match first_missing(&folder)? {
                None => return self.complete(&repo, folder),
                Some(file) => file,
            },
            None => REQUIRED[0].to_owned(),
        };
        self.check_online(|| repo.describe(&missing))?;
        let remote = Remote::newest(self, &repo)?;
        check_weights(&repo, &remote.names)?;
        for file in REQUIRED {
            remote.fetch(file)?;
        }
        fetch_optional(&remote)?;
        if remote.has(WEIGHTS) || !remote.has(INDEX) {
            remote.fetch(WEIGHTS)?;
        } else {
            remote.fetch_all(&Vec::from_iter(shards(&remote.fetch(INDEX)?)?))?;
        }
        remote.publish()?;
        Ok(remote.folder())
    }

    /// Fetches a cached model's files beyond the required ones: another tool may have left them out, and without
    /// them prompts or stop tokens would differ.
    fn complete(&self, repo: &Repo, folder: PathBuf) -> Result<PathBuf, HubError> {
        let unknown = OPTIONAL.into_iter().find(|file| !is_known(&folder, file));
        let (Some(file), Some(commit)) = (unknown, folder.file_name().and_then(|name| name.to_str())) else {
            return Ok(folder);
        };
        let remote = self.check_online(|| repo.describe(file)).and_then(|()| Remote::at(self, repo, commit));
        match remote {
            Ok(remote) => fetch_optional(&remote)?,
            Err(error) => {
                tracing::warn!(
                    "whether the model has a file `{file}` is not known, and it is used without: {error}"
                );
            }
        }
        Ok(folder)
    }

    /// The examples of a dataset such as `openai/gsm8k`. Its files are found as [`load`](crate::load()) finds
    /// them in a folder, so GSM8K's configuration `main` is preferred. The revision of the split may be any branch, tag or commit, such
    /// as `refs/convert/parquet`, in which the Hub keeps datasets of other formats as Parquet, a folder for each configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Hub`] if the files are not available, [`Error::Load`] if they hold no such dataset.
    pub fn dataset(&self, id: &str, split: &Split, columns: &Columns) -> Result<Vec<Example>, Error> {
        let repo = Repo::dataset(id, split.revision.as_deref())?;
        let folder = self.cached(&repo, |folder| split_files(folder, split).is_ok())?;
        if let Some(files) = folder.and_then(|folder| split_files(&folder, split).ok()) {
            return Ok(load_files(&files, columns)?);
        }
        self.check_online(|| repo.describe(&format!("{}-*.parquet", split.name)))?;
        let remote = Remote::newest(self, &repo)?;
        let names = split.choose(&repo.to_string(), &remote.names)?;
        let files = remote.fetch_all(&names)?;
        remote.publish()?;
        Ok(load_files(&files, columns)?)
    }

    /// The cached commit that is marked as the newest; offline, if none is marked, the only complete one.
    fn cached(&self, repo: &Repo, is_whole: impl Fn(&Path) -> bool) -> Result<Option<PathBuf>, HubError> {
        let newest = repo.cached(&self.cache);
        if newest.is_some() || !self.offline || !repo.is_newest() {
            return Ok(newest);
        }
        let mut folders = repo.snapshots(&self.cache);
        folders.retain(|folder| is_whole(folder));
        if folders.len() > 1 {
            return Err(HubError::Snapshots { what: repo.to_string(), folders });
        }
        let only = folders.pop();
        if let Some(folder) = &only {
            tracing::warn!(
                "nothing says which commit of {repo} is the newest; {} is the only one",
                folder.display()
            );
        }
        Ok(only)
    }

    fn check_online(&self, what: impl FnOnce() -> String) -> Result<(), HubError> {
        if self.offline {
            return Err(HubError::Offline { what: what(), cache: self.cache.path().clone() });
        }
        Ok(())
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", self.cache.path())
            .field("token", &self.token)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}
