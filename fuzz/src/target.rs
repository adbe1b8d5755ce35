use std::cell::RefCell;
use std::path::Path;

use tempfile::TempDir;

/// Something that is given a folder of files, one of which may be anything.
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Names of files, and contents that are right.
    pub files: Vec<(String, Vec<u8>)>,
    /// Reads the folder, in which the file of this name may be anything, and says whether nothing was refused.
    pub read: fn(&Path, &str) -> bool,
}

thread_local! {
    static FOLDER: RefCell<Option<(&'static str, TempDir)>> = const { RefCell::new(None) };
}

impl Target {
    /// Reads the folder with one file replaced: the first byte says which, the others are its content. Whether nothing was refused.
    ///
    /// # Panics
    ///
    /// If what is tried does, or there is no room for the files.
    pub fn run(&self, input: &[u8]) -> bool {
        let Some((selector, content)) = input.split_first() else { return false };
        let (replaced, right) = &self.files[usize::from(*selector) % self.files.len()];
        FOLDER.with_borrow_mut(|folder| {
            if folder.as_ref().is_none_or(|(name, _)| *name != self.name) {
                let fresh = tempfile::tempdir().expect("there is room for a folder");
                for (name, content) in &self.files {
                    write(fresh.path(), name, content);
                }
                *folder = Some((self.name, fresh));
            }
            let folder = folder.as_ref().expect("it has just been made").1.path();
            write(folder, replaced, content);
            let whole = (self.read)(folder, replaced);
            write(folder, replaced, right);
            whole
        })
    }

    /// For every file the input that leaves it right.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (0u8..).zip(&self.files).map(|(i, (_, content))| [&[i], content.as_slice()].concat()).collect()
    }
}

fn write(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    let parent = path.parent().expect("a file is in a folder");
    std::fs::create_dir_all(parent).expect("there is room for a folder");
    std::fs::write(path, content).expect("there is room for a file");
}

/// Takes out the fuzzer's hook, which ends the program at every panic, even at one that a reader catches and makes an error of.
/// One that is not caught ends it all the same.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|_| {}));
}
