//! Files of one commit, downloaded into the cache.
//!
//! A file arrives as `blobs/{etag}.part`, is renamed when it is whole and its hash is the one that the Hub
//! announced, and is then linked into the snapshot of its commit. So a snapshot holds only whole files, and a
//! download that was interrupted goes on later, in this process or another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::RepoInfo;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::client::{Client, Reply};
use super::repo::{Repo, is_inside, is_plain};
use super::{Hub, HubError, Transfer};

/// Tries in a row that get no further; one that does starts the count again.
const MAX_TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const CHUNK: usize = 256 * 1024;

/// The newest commit of a repository.
pub(super) struct Remote<'a> {
    hub: &'a Hub,
    client: Client<'a>,
    repo: &'a Repo,
    commit: String,
    /// The files of the commit.
    pub(super) names: Vec<String>,
}

impl<'a> Remote<'a> {
    /// Asks the Hub what there is.
    pub(super) fn newest(hub: &'a Hub, repo: &'a Repo) -> Result<Self, HubError> {
        let client = Client::new(&hub.endpoint, hub.token.as_ref())?;
        let what = repo.to_string();
        let mut reply = client.get(repo, &what, &repo.info_path(), None)?;
        let info: RepoInfo = reply.response.body_mut().read_json().map_err(|e| match e {
            ureq::Error::Json(e) => client.protocol(&what, e.to_string()),
            other => client.connection(&what, other),
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

    /// The folder that the files are fetched into.
    pub(super) fn folder(&self) -> PathBuf {
        self.repo.snapshot(&self.hub.cache, &self.commit)
    }

    /// Makes this commit the one that is found in the cache from now on.
    pub(super) fn publish(&self) -> Result<(), HubError> {
        self.repo.publish(&self.hub.cache, &self.commit)
    }

    /// Fetches a file unless it is there.
    pub(super) fn fetch(&self, name: &str) -> Result<PathBuf, HubError> {
        let what = self.repo.describe(name);
        if !self.has(name) {
            return Err(self.client.not_found(&what));
        }
        let target = self.folder().join(name);
        let path = self.repo.file_path(&self.commit, name);
        if !target.exists() {
            Download { remote: self, name, what, path, target: &target }.run()?;
        }
        Ok(target)
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
    /// Tries until the file is there.
    fn run(&self) -> Result<(), HubError> {
        let (mut tries, mut furthest) = (0, 0);
        loop {
            let before = furthest;
            let error = match self.attempt(&mut furthest) {
                Err(error) if error.is_transient() => error,
                done_or_hopeless => return done_or_hopeless,
            };
            tries = if furthest > before { 1 } else { tries + 1 };
            if tries > MAX_TRIES {
                return Err(error);
            }
            tracing::warn!(%error, "trying again");
            std::thread::sleep(FIRST_PAUSE * 2u32.pow(tries - 1));
        }
    }

    fn attempt(&self, furthest: &mut u64) -> Result<(), HubError> {
        let first_byte = self.get("bytes=0-0")?;
        let total = self.total(&first_byte)?;
        let etag = first_byte.etag.as_deref().map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
        let etag = etag.filter(|etag| is_plain(etag)).ok_or_else(|| self.protocol("no usable ETag"))?;
        let blob = self.remote.repo.blob(&self.remote.hub.cache, etag);
        let folder = parent(&blob);
        fs::create_dir_all(folder).map_err(HubError::io(folder))?;
        // Two processes that want the same file: the second waits, and finds it there. Dropping the lock
        // releases it.
        let lock = folder.join(format!("{etag}.lock"));
        let _lock = File::create(&lock).and_then(|f| f.lock().map(|()| f)).map_err(HubError::io(&lock))?;
        if !fs::metadata(&blob).is_ok_and(|meta| meta.len() == total) {
            let part = folder.join(format!("{etag}.part"));
            self.fill(&part, total, furthest)?;
            if !is_named(&part, etag).map_err(HubError::io(&part))? {
                fs::remove_file(&part).map_err(HubError::io(&part))?;
                return Err(HubError::Hash { what: self.what.clone(), expected: etag.to_owned() });
            }
            fs::rename(&part, &blob).map_err(HubError::io(&blob))?;
        }
        self.link(&blob).map_err(HubError::io(self.target))
    }

    /// Completes the file `part`, from where it ends.
    fn fill(&self, part: &Path, total: u64, furthest: &mut u64) -> Result<(), HubError> {
        let failed = || HubError::io(part);
        let mut file = OpenOptions::new().create(true).append(true).open(part).map_err(failed())?;
        let mut done = file.metadata().map_err(failed())?.len();
        if done > total {
            file.set_len(0).map_err(failed())?;
            done = 0;
        }
        self.report(done, total);
        if done == total {
            return Ok(());
        }
        let mut reply = self.get(&format!("bytes={done}-"))?;
        if reply.response.status() == 200 {
            file.set_len(0).map_err(failed())?; // a server that does not know ranges sends all of it
            done = 0;
        } else if !reply.header("content-range").is_some_and(|r| r.starts_with(&format!("bytes {done}-"))) {
            return Err(self.protocol("another range than asked for"));
        }
        let mut body = reply.response.body_mut().as_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            let cut = |cause| HubError::Cut { what: self.what.clone(), done, total, cause };
            let n = match body.read(&mut chunk) {
                Ok(0) if done < total => return Err(cut(io::ErrorKind::UnexpectedEof.into())),
                Ok(0) => return Ok(()),
                other => other.map_err(cut)?,
            };
            if done + n as u64 > total {
                fs::remove_file(part).map_err(failed())?;
                return Err(HubError::TooLong { what: self.what.clone(), total });
            }
            file.write_all(&chunk[..n]).map_err(failed())?;
            done += n as u64;
            *furthest = done.max(*furthest);
            self.report(done, total);
        }
    }

    fn get(&self, range: &str) -> Result<Reply, HubError> {
        self.remote.client.get(self.remote.repo, &self.what, &self.path, Some(range))
    }

    /// The length of the file that a request for its first byte announces.
    fn total(&self, reply: &Reply) -> Result<u64, HubError> {
        let total = match reply.response.status().as_u16() {
            206 => {
                reply.header("content-range").and_then(|range| range.rsplit_once('/')).map(|(_, total)| total)
            }
            _ => reply.header("content-length"),
        };
        total.and_then(|total| total.parse().ok()).ok_or_else(|| self.protocol("no length announced"))
    }

    /// Shows the blob under the file's name.
    fn link(&self, blob: &Path) -> io::Result<()> {
        if self.target.exists() {
            return Ok(()); // another process was faster
        }
        fs::create_dir_all(parent(self.target))?;
        if self.target.is_symlink() {
            fs::remove_file(self.target)?; // to a blob that was deleted
        }
        // Relative, so that the cache can be moved: out of `snapshots/{commit}/...`, into `blobs`.
        let n_levels = Path::new(self.name).components().count() + 1;
        let mut path: PathBuf = std::iter::repeat_n("..", n_levels).collect();
        path.extend([Path::new("blobs"), Path::new(blob.file_name().unwrap_or_default())]);
        #[cfg(unix)]
        let linked = std::os::unix::fs::symlink(path, self.target);
        #[cfg(windows)] // where links need rights, the snapshot holds the file itself
        let linked =
            std::os::windows::fs::symlink_file(path, self.target).or_else(|_| fs::rename(blob, self.target));
        linked
    }

    fn report(&self, done: u64, total: u64) {
        if let Some(listener) = &self.remote.hub.progress {
            listener(&Transfer { file: self.name, done, total });
        }
    }

    fn protocol(&self, reason: &str) -> HubError {
        self.remote.client.protocol(&self.what, reason)
    }
}

/// Whether the content of a file is what the Hub's ETag says: its SHA-256 where it is stored apart from the
/// repository (LFS), else its hash as a blob of git. Other servers' ETags may be anything, and say nothing.
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
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
