//! Files of one commit, downloaded into the cache.
//!
//! A file arrives as `blobs/{etag}.part`, is renamed when it is complete and its hash is the one that the Hub
//! announced, and is then linked into the snapshot of its commit. So a snapshot holds only complete files, and
//! an interrupted download resumes later, in this process or another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use grpo_files::{hex, is_inside};
use hf_hub::api::RepoInfo;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::client::{Client, Reply};
use super::repo::{Repo, is_plain};
use super::retry::retry;
use super::{Hub, HubError, Transfer};

/// A list of files may be long, but not endless.
const MAX_INFO: u64 = 256 << 20;
const NO_SUCH_RANGE: u16 = 416;
const CHUNK: usize = 256 * 1024;

/// A commit of a repository.
pub(super) struct Remote<'a> {
    hub: &'a Hub,
    client: Client<'a>,
    repo: &'a Repo,
    commit: String,
    /// The files of the commit.
    pub(super) names: Vec<String>,
}

impl<'a> Remote<'a> {
    /// Asks the Hub what is in the newest commit of the repository's revision.
    pub(super) fn newest(hub: &'a Hub, repo: &'a Repo) -> Result<Self, HubError> {
        Self::at(hub, repo, &repo.revision)
    }

    /// Asks the Hub what is in a commit.
    pub(super) fn at(hub: &'a Hub, repo: &'a Repo, revision: &str) -> Result<Self, HubError> {
        let client = Client::new(&hub.endpoint, hub.token.as_ref())?;
        let what = repo.to_string();
        let info: RepoInfo = retry(|_| {
            let mut reply = client.get(repo, &what, &repo.info_path(revision), None)?;
            let body = reply.response.body_mut().with_config().limit(MAX_INFO).read_to_vec();
            let body = body.map_err(|cause| client.connection(&what, cause))?;
            serde_json::from_slice(&body).map_err(|e| client.protocol(&what, e.to_string()))
        })?;
        if !is_plain(&info.sha) {
            return Err(client.protocol(&what, "its commit has no plain name"));
        }
        let names =
            info.siblings.into_iter().map(|file| file.rfilename).filter(|name| is_inside(name)).collect();
        Ok(Self { hub, client, repo, commit: info.sha, names })
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.names.iter().any(|name| name == file)
    }

    /// The folder to fetch the files into.
    pub(super) fn folder(&self) -> PathBuf {
        self.repo.snapshot(&self.hub.cache, &self.commit)
    }

    /// Makes this commit the one that later lookups find in the cache.
    pub(super) fn publish(&self) -> Result<(), HubError> {
        self.repo.publish(&self.hub.cache, &self.commit)
    }

    /// Fetches a file unless it is already there.
    pub(super) fn fetch(&self, name: &str) -> Result<PathBuf, HubError> {
        Ok(self.fetch_all(&[name.to_owned()])?.remove(0))
    }

    /// Fetches the missing files. They appear together, so that nobody mistakes some of them for all.
    pub(super) fn fetch_all(&self, names: &[String]) -> Result<Vec<PathBuf>, HubError> {
        let targets: Vec<PathBuf> = names.iter().map(|name| self.folder().join(name)).collect();
        let mut arrived = Vec::new();
        for (name, target) in names.iter().zip(&targets).filter(|(_, target)| !target.exists()) {
            let what = self.repo.describe(name);
            if !self.has(name) {
                return Err(self.client.not_found(&what));
            }
            let path = self.repo.file_path(&self.commit, name);
            let download = Download { remote: self, name, what, path, target };
            arrived.push((retry(|furthest| download.attempt(furthest))?, download));
        }
        for (blob, download) in arrived {
            let _lock = lock(&blob)?;
            download.link(&blob).map_err(HubError::io(download.target))?;
        }
        Ok(targets)
    }
}

struct Download<'a> {
    remote: &'a Remote<'a>,
    name: &'a str,
    what: String,
    /// On the Hub.
    path: String,
    /// In the snapshot.
    target: &'a Path,
}

impl Download<'_> {
    /// Downloads the blob that holds the file, unless it is already there.
    fn attempt(&self, furthest: &mut u64) -> Result<PathBuf, HubError> {
        let first_byte = match self.get(Some("bytes=0-0")) {
            Err(HubError::Status { status: NO_SUCH_RANGE, .. }) => self.get(None)?, // an empty file has no first byte
            other => other?,
        };
        let total = self.total(&first_byte)?;
        let etag = first_byte.etag.as_deref().map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let etag = etag.filter(|etag| is_plain(etag)).ok_or_else(|| self.protocol("no usable ETag"))?;
        let blob = self.remote.repo.blob(&self.remote.hub.cache, etag);
        let folder = parent(&blob);
        fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        let _lock = lock(&blob)?;
        if !fs::metadata(&blob).is_ok_and(|meta| total.is_none_or(|total| meta.len() == total)) {
            let part = folder.join(format!("{etag}.part"));
            self.fill(&part, total, furthest)?;
            if !is_named(&part, etag).map_err(HubError::io(&part))? {
                fs::remove_file(&part).map_err(HubError::io(&part))?;
                return Err(HubError::Hash { what: self.what.clone(), expected: etag.to_owned() });
            }
            fs::rename(&part, &blob).map_err(HubError::io(&blob))?;
        }
        Ok(blob)
    }

    /// Completes the file `part` from where it ends.
    fn fill(&self, part: &Path, total: Option<u64>, furthest: &mut u64) -> Result<(), HubError> {
        let failed = || HubError::io(part);
        let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(failed())?;
        let mut done = file.metadata().map_err(failed())?.len();
        if total.is_none_or(|total| done > total) {
            file.set_len(0).map_err(failed())?; // if no length is known, a part may be longer than the whole file
            done = 0;
        }
        self.report(done, total);
        if Some(done) == total {
            return Ok(());
        }
        let mut reply = self.rest(&mut file, part, &mut done)?;
        let mut body = reply.response.body_mut().as_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match body.read(&mut chunk) {
                Ok(0) if total.is_some_and(|total| done < total) => {
                    return Err(self.cut(done, total, io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(0) => return Ok(()),
                other => other.map_err(|cause| self.cut(done, total, cause))?,
            };
            if let Some(total) = total.filter(|total| done + n as u64 > *total) {
                fs::remove_file(part).map_err(failed())?;
                return Err(HubError::TooLong { what: self.what.clone(), total });
            }
            file.write_all(&chunk[..n]).map_err(failed())?;
            done += n as u64;
            *furthest = done.max(*furthest);
            self.report(done, total);
        }
    }

    /// Requests what follows the first `done` bytes; starts over if the server will not resume from there.
    fn rest(&self, file: &mut File, part: &Path, done: &mut u64) -> Result<Reply, HubError> {
        let reply = match self.get(Some(&format!("bytes={done}-"))) {
            Err(HubError::Status { status: NO_SUCH_RANGE, .. }) => self.get(None)?,
            other => other?,
        };
        if reply.response.status() == 200 {
            // All of it: the server does not support ranges, or has no more than what is already here.
            file.set_len(0).map_err(HubError::io(part))?;
            *done = 0;
        } else if !reply.header("content-range").is_some_and(|r| r.starts_with(&format!("bytes {done}-"))) {
            return Err(self.protocol("another range than asked for"));
        }
        Ok(reply)
    }

    fn cut(&self, done: u64, total: Option<u64>, cause: io::Error) -> HubError {
        match total {
            Some(total) => HubError::Cut { what: self.what.clone(), done, total, cause },
            None => self.remote.client.connection(&self.what, ureq::Error::Io(cause)),
        }
    }

    fn get(&self, range: Option<&str>) -> Result<Reply, HubError> {
        self.remote.client.get(self.remote.repo, &self.what, &self.path, range)
    }

    /// The length of the file that a response announces. None if the server generates files as it sends them.
    fn total(&self, reply: &Reply) -> Result<Option<u64>, HubError> {
        let announced = match reply.response.status().as_u16() {
            206 => {
                let range = reply.header("content-range").and_then(|range| range.rsplit_once('/'));
                Some(range.ok_or_else(|| self.protocol("no length announced"))?.1)
                    .filter(|total| *total != "*")
            }
            _ => reply.header("content-length"),
        };
        let announced =
            announced.map(|total| total.parse().map_err(|_| self.protocol("no length announced")));
        Ok(reply.linked_size.or(announced.transpose()?))
    }

    /// Links the blob under the file's name.
    fn link(&self, blob: &Path) -> io::Result<()> {
        if self.target.exists() {
            return Ok(()); // another process was faster
        }
        fs::create_dir_all(parent(self.target))?;
        if self.target.is_symlink() {
            fs::remove_file(self.target)?; // a link to a blob that was deleted
        }
        // Relative, so that the cache can be moved: out of `snapshots/{commit}/...`, into `blobs`.
        let n_levels = Path::new(self.name).components().count() + 1;
        let mut path: PathBuf = std::iter::repeat_n("..", n_levels).collect();
        path.extend([Path::new("blobs"), Path::new(blob.file_name().unwrap_or_default())]);
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(path, self.target);
        #[cfg(windows)] // links need extra rights here, so the snapshot holds the file itself
        let linked =
            std::os::windows::fs::symlink_file(path, self.target).or_else(|_| fs::rename(blob, self.target));
        linked
    }

    fn report(&self, done: u64, total: Option<u64>) {
        if let Some(listener) = &self.remote.hub.progress {
            listener(&Transfer { file: self.name, done, total: total.unwrap_or(done) });
        }
    }

    fn protocol(&self, reason: &str) -> HubError {
        self.remote.client.protocol(&self.what, reason)
    }
}

/// If two processes want the same file, the second waits and then finds it. Dropping the lock releases it.
fn lock(blob: &Path) -> Result<File, HubError> {
    let path = blob.with_added_extension("lock");
    File::create(&path).and_then(|file| file.lock().map(|()| file)).map_err(HubError::io(&path))
}

/// Whether the content of a file matches the Hub's ETag: its SHA-256 if it is stored outside the
/// repository (LFS), else its hash as a git blob. Other servers' ETags may be anything and prove nothing.
fn is_named(path: &Path, etag: &str) -> io::Result<bool> {
    let mut file = File::open(path)?;
    Ok(match etag.len() {
        _ if !etag.bytes().all(|byte| byte.is_ascii_hexdigit()) => true,
        64 => digest(Sha256::new(), &mut file)?.eq_ignore_ascii_case(etag),
        40 => {
            let blob = Sha1::new().chain_update(format!("blob {}\0", file.metadata()?.len()));
            digest(blob, &mut file)?.eq_ignore_ascii_case(etag)
        }
        _ => true,
    })
}

fn digest(mut hasher: impl Digest + Write, file: &mut File) -> io::Result<String> {
    io::copy(file, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
