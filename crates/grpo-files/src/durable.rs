//! Files that are either complete or absent, even after a power failure.

use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;

/// Lets `write` fill a file next to `path`, syncs it and renames it to `path`: a write that fails (on a full disk, for example)
/// leaves the previous file unchanged. Returns what `write` does.
pub fn write_atomically<T>(path: &Path, write: impl FnOnce(&mut File) -> Result<T>) -> Result<T> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let fill = || {
        let mut file = File::create(partial)?;
        let result = write(&mut file)?;
        file.sync_all()?;
        rename_durably(partial, path)?;
        Ok(result)
    };
    let result = fill();
    if result.is_err() {
        // The partial file is useless; the error to report is the failed write.
        let _ = std::fs::remove_file(partial);
    }
    result
}

/// [`write_atomically`] for bytes in memory.
pub fn write_bytes(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    write_atomically(path, |file| file.write_all(bytes.as_ref()))
}

/// Renames a file or a folder within its folder, and returns once the rename is on the disk.
pub fn rename_durably(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)?;
    sync_folder(to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Syncs the names in a folder to the disk, if the system supports it.
pub fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_bytes(&path, "old").unwrap();
        let full = |file: &mut File| file.write_all(b"half").and(Err::<(), _>(std::io::Error::other("full")));
        assert_eq!(write_atomically(&path, full).unwrap_err().to_string(), "full");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write_bytes(&path, "new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }
}
