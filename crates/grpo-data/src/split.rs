//! The parts of a dataset, and which files hold them.

use std::fmt;

use crate::LoadError;

/// Folders that a dataset keeps its files in, best first: `main` is GSM8K's configuration of that name.
pub(crate) const FOLDERS: [&str; 3] = ["main/", "", "data/"];

/// A part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What is learned from.
    Train,
    /// What is measured on.
    Test,
}

impl Split {
    /// The name that files of this split start with.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }

    /// Chooses the files of this split out of `names` (with `/` between folders): all shards, in order.
    /// `place` is for errors.
    pub(crate) fn choose(self, place: &str, names: &[String]) -> Result<Vec<String>, LoadError> {
        for folder in FOLDERS {
            for (sharded, extension) in
                [(true, "parquet"), (false, "parquet"), (true, "jsonl"), (false, "jsonl")]
            {
                let fits = |name: &&String| self.fits(name, folder, sharded, extension);
                let mut files: Vec<String> = names.iter().filter(fits).cloned().collect();
                if !files.is_empty() {
                    files.sort();
                    return check_shards(place, files);
                }
            }
        }
        let mut found = names.to_vec();
        found.sort();
        Err(LoadError::NoSplit { place: place.to_owned(), split: self, found })
    }

    fn fits(self, name: &str, folder: &str, sharded: bool, extension: &str) -> bool {
        let stem = name.strip_prefix(folder).and_then(|file| file.rsplit_once('.'));
        let Some((stem, found)) = stem else { return false };
        let rest = stem.strip_prefix(self.name());
        found == extension
            && rest.is_some_and(|rest| {
                if sharded { rest.starts_with('-') && !rest.contains('/') } else { rest.is_empty() }
            })
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name like `train-00001-of-00003.parquet` says how many there are; training on some of them would go
/// unnoticed.
fn check_shards(place: &str, files: Vec<String>) -> Result<Vec<String>, LoadError> {
    let announced =
        files.iter().filter_map(|name| name.rsplit_once("-of-")?.1.split('.').next()?.parse().ok());
    match announced.max() {
        Some(expected) if expected != files.len() => {
            Err(LoadError::Shards { place: place.to_owned(), expected, found: files })
        }
        _ => Ok(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str]) -> Result<Vec<String>, LoadError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Split::Train.choose("here", &names)
    }

    #[test]
    fn every_shard_in_order() {
        let names = ["main/train-00001-of-00002.parquet", "README.md", "main/train-00000-of-00002.parquet"];
        let chosen = choose(&names).unwrap();
        assert_eq!(chosen, ["main/train-00000-of-00002.parquet", "main/train-00001-of-00002.parquet"]);
    }

    #[test]
    fn the_best_folder_and_format() {
        let chosen = |names| choose(names).unwrap();
        assert_eq!(chosen(&["socratic/train-0.parquet", "main/train-0.parquet"]), ["main/train-0.parquet"]);
        assert_eq!(chosen(&["data/train.parquet", "train.parquet"]), ["train.parquet"]);
        assert_eq!(chosen(&["train.jsonl", "train.parquet"]), ["train.parquet"]);
        assert_eq!(chosen(&["train-b.jsonl", "train-a.jsonl"]), ["train-a.jsonl", "train-b.jsonl"]);
        assert_eq!(chosen(&["test.parquet", "training.parquet", "train.jsonl"]), ["train.jsonl"]);
    }

    #[test]
    fn a_missing_split_lists_what_there_is() {
        let error = choose(&["test.jsonl", "socratic/train-0.parquet"]).unwrap_err().to_string();
        assert!(error.contains("socratic/train-0.parquet, test.jsonl"), "{error}");
    }

    #[test]
    fn a_missing_shard_is_noticed() {
        let error = choose(&["train-00000-of-00002.parquet"]).unwrap_err();
        assert!(matches!(error, LoadError::Shards { expected: 2, .. }), "{error}");
    }
}
