//! A repository's names on the Hub and in the cache.

use std::fmt;
use std::path::PathBuf;

use hf_hub::{Cache, RepoType};

use super::HubError;

/// The branch that is fetched unless another revision is named.
const BRANCH: &str = "main";

/// A model or dataset on the Hub, at a revision.
pub(super) struct Repo {
    id: String,
    kind: RepoType,
    /// A branch, a tag or a commit.
    pub(super) revision: String,
}

impl Repo {
    pub(super) fn model(id: &str) -> Result<Self, HubError> {
        Self::new(id, RepoType::Model, None)
    }

    pub(super) fn dataset(id: &str, revision: Option<&str>) -> Result<Self, HubError> {
        Self::new(id, RepoType::Dataset, revision)
    }

    fn new(id: &str, kind: RepoType, revision: Option<&str>) -> Result<Self, HubError> {
        if !is_id(id) {
            return Err(HubError::Id { id: id.to_owned() });
        }
        let revision = revision.unwrap_or(BRANCH);
        if !revision.split('/').all(is_plain) {
            return Err(HubError::Revision { revision: revision.to_owned() });
        }
        Ok(Self { id: id.to_owned(), kind, revision: revision.to_owned() })
    }

    /// Whether the newest commit is meant, not a certain revision.
    pub(super) fn is_newest(&self) -> bool {
        self.revision == BRANCH
    }

    /// The path of its page.
    pub(super) fn url(&self) -> String {
        self.at(BRANCH).url()
    }

    /// The path that gives the commit of a revision and the files in it.
    pub(super) fn info_path(&self, revision: &str) -> String {
        format!("api/{}", self.at(revision).api_url())
    }

    /// The path of a file's content.
    pub(super) fn file_path(&self, commit: &str, file: &str) -> String {
        let keep = |b: &u8| b.is_ascii_alphanumeric() || b"-_.~/".contains(b);
        let quoted = |b: u8| if keep(&b) { char::from(b).to_string() } else { format!("%{b:02X}") };
        format!("{}/resolve/{commit}/{}", self.url(), file.bytes().map(quoted).collect::<String>())
    }

    /// For errors.
    pub(super) fn describe(&self, file: &str) -> String {
        format!("`{file}` of {self}")
    }

    /// For errors.
    pub(super) fn describe_revision(&self) -> String {
        format!("the revision `{}` of {self}", self.revision)
    }

    pub(super) fn blob(&self, cache: &Cache, etag: &str) -> PathBuf {
        cache.repo(self.at(BRANCH)).blob_path(etag)
    }

    /// The folder that holds a commit's files under their names.
    pub(super) fn snapshot(&self, cache: &Cache, commit: &str) -> PathBuf {
        cache.repo(self.at(BRANCH)).pointer_path(commit)
    }

    /// The snapshot of the revision that was fetched last.
    pub(super) fn cached(&self, cache: &Cache) -> Option<PathBuf> {
        if is_commit(&self.revision) {
            return Some(self.snapshot(cache, &self.revision)).filter(|folder| folder.exists());
        }
        let commit = std::fs::read_to_string(self.reference(cache)).ok()?;
        let commit = commit.trim();
        is_plain(commit).then(|| self.snapshot(cache, commit))
    }

    /// Every commit in the cache, for when none is known to be the newest, as after downloading a commit by name.
    pub(super) fn snapshots(&self, cache: &Cache) -> Vec<PathBuf> {
        let folder = self.snapshot(cache, "any");
        let entries = folder.parent().and_then(|all| std::fs::read_dir(all).ok()).into_iter().flatten();
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.sort();
        folders
    }

    /// Makes `commit` the one that [`Repo::cached`] finds.
    pub(super) fn publish(&self, cache: &Cache, commit: &str) -> Result<(), HubError> {
        if is_commit(&self.revision) {
            return Ok(()); // it is its own name
        }
        let written = cache.repo(self.at(&self.revision)).create_ref(commit);
        written.map_err(HubError::io(&self.reference(cache)))
    }

    fn reference(&self, cache: &Cache) -> PathBuf {
        cache.path().join(self.at(BRANCH).folder_name()).join("refs").join(&self.revision)
    }

    fn at(&self, revision: &str) -> hf_hub::Repo {
        hf_hub::Repo::with_revision(self.id.clone(), self.kind, revision.to_owned())
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self.kind, RepoType::Dataset) { "dataset" } else { "model" };
        write!(f, "the {kind} `{}`", self.id)
    }
}

/// Whether a revision is a commit.
fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `text` has the form `owner/name`.
pub(crate) fn is_id(text: &str) -> bool {
    matches!(text.split_once('/'), Some((owner, name)) if is_plain(owner) && is_plain(name))
}

/// Whether `text` is safe as the name of one file or folder, wherever it comes from.
pub(super) fn is_plain(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for id in ["Qwen/Qwen2.5-0.5B-Instruct", "openai/gsm8k", "a/b_c"] {
            assert!(is_id(id), "{id}");
        }
        for id in ["gsm8k", "a/b/c", "/b", "a/", "../b", "a/..", "./b", "a b/c", "a\\b/c", "C:/b", "~/b", ""]
        {
            assert!(!is_id(id), "{id}");
        }
    }

    #[test]
    fn file_names_are_quoted() {
        let path = Repo::dataset("a/b", None).unwrap().file_path("c0", "main/train x#?.parquet");
        assert_eq!(path, "datasets/a/b/resolve/c0/main/train%20x%23%3F.parquet");
    }
}
