//! The parts of a dataset, and which files hold them.

use std::collections::BTreeSet;

use crate::LoadError;

/// Folders that a dataset keeps its files in, best first: `main` is GSM8K's configuration of that name, `default` is
/// the Hub's name for an unnamed one.
const FOLDERS: [&str; 4] = ["main/", "", "data/", "default/"];

/// Endings of files, best first.
const EXTENSIONS: [&str; 3] = ["parquet", "jsonl", "csv"];

/// How the files of a split are named.
#[derive(Clone, Copy)]
enum Layout {
    /// `train-00000-of-00001.parquet`
    Shards,
    /// `train.parquet`
    File,
    /// `train/0000.parquet`, as in the Hub's own conversions (the branch `refs/convert/parquet`)
    Folder,
}

/// Which part of a dataset is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Its name: files of the split `train` begin with that.
    pub name: String,
    /// The configuration (a subset, a language): the folder that holds its files; none for the main one.
    pub config: Option<String>,
    /// The commit, branch or tag of a dataset on the Hub; none for the newest commit.
    pub revision: Option<String>,
}

impl Split {
    /// A split of the main configuration.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), config: None, revision: None }
    }

    /// The same of a configuration, at a revision.
    #[must_use]
    pub fn of(mut self, config: Option<String>, revision: Option<String>) -> Self {
        (self.config, self.revision) = (config, revision);
        self
    }

    /// The examples to learn from.
    pub fn train() -> Self {
        Self::new("train")
    }

    /// The examples to measure on.
    pub fn test() -> Self {
        Self::new("test")
    }

    /// The folders that may hold its files, best first, each with a `/` at its end.
    pub(crate) fn folders(&self) -> Vec<String> {
        match &self.config {
            Some(config) => vec![format!("{config}/"), format!("data/{config}/")],
            None => FOLDERS.map(str::to_owned).to_vec(),
        }
    }

    /// Chooses the files of this split from `names` (with `/` between folders): all shards, in order.
    /// `place` is for errors.
    pub(crate) fn choose(&self, place: &str, names: &[String]) -> Result<Vec<String>, LoadError> {
        for folder in self.folders() {
            for extension in EXTENSIONS {
                for layout in [Layout::Shards, Layout::File, Layout::Folder] {
                    let fits = |name: &&String| self.fits(name, &folder, layout, extension);
                    let mut files: Vec<String> = names.iter().filter(fits).cloned().collect();
                    if !files.is_empty() {
                        files.sort();
                        return check_shards(place, files);
                    }
                }
            }
        }
        let mut found = names.to_vec();
        found.sort();
        let (split, config) = (self.name.clone(), self.config.clone());
        Err(LoadError::NoSplit { place: place.to_owned(), split, config, found })
    }

    fn fits(&self, name: &str, folder: &str, layout: Layout, extension: &str) -> bool {
        let stem = name.strip_prefix(folder).and_then(|file| file.rsplit_once('.'));
        let Some((stem, found)) = stem else { return false };
        let rest = stem.strip_prefix(self.name.as_str());
        found == extension
            && rest.is_some_and(|rest| match layout {
                Layout::Shards => rest.starts_with('-') && !rest.contains('/'),
                Layout::File => rest.is_empty(),
                Layout::Folder => rest.strip_prefix('/').is_some_and(|file| !file.contains('/')),
            })
    }
}

/// Checks that no shard is missing, since training on only some of them would go unnoticed. A name like
/// `train-00001-of-00003.parquet` says how many there are; `train/0001.parquet` implies that one comes before it.
fn check_shards(place: &str, files: Vec<String>) -> Result<Vec<String>, LoadError> {
    let stems = || files.iter().map(|name| name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem));
    // A hash may follow, as in `train-00000-of-00001-b42a775f407cee45`.
    let number = |stem: &str| stem.rsplit_once("-of-")?.1.split('-').next()?.parse().ok();
    let announced: BTreeSet<usize> = stems().filter_map(number).collect();
    let counted: Option<Vec<usize>> = stems().map(|stem| stem.rsplit_once('/')?.1.parse().ok()).collect();
    let expected = match (announced.last(), counted.unwrap_or_default().last()) {
        // Shards of two datasets in one folder state two numbers.
        (Some(&last), _) if announced.len() > 1 => Some(last),
        (Some(&last), _) => Some(last).filter(|&last| last != files.len()),
        (None, Some(&last)) => Some(last.saturating_add(1)).filter(|&n| n != files.len()),
        (None, None) => None,
    };
    match expected {
        Some(expected) => Err(LoadError::Shards { place: place.to_owned(), expected, found: files }),
        None => Ok(files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(names: &[&str]) -> Result<Vec<String>, LoadError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Split::train().choose("here", &names)
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
        assert_eq!(
            chosen(&[
                "main/train/0001.parquet",
                "main/train/0000.parquet",
                "main/partial-train/0000.parquet"
            ]),
            ["main/train/0000.parquet", "main/train/0001.parquet"]
        );
        assert_eq!(
            chosen(&["default/train/0000.parquet", "a/train/0000.parquet"]),
            ["default/train/0000.parquet"]
        );
        assert_eq!(chosen(&["train/b.jsonl", "train/a.jsonl"]), ["train/a.jsonl", "train/b.jsonl"]);
    }

    #[test]
    fn a_missing_split_lists_what_there_is() {
        let error = choose(&["test.jsonl", "socratic/train-0.parquet"]).unwrap_err().to_string();
        assert!(error.contains("socratic/train-0.parquet, test.jsonl"), "{error}");
    }

    #[test]
    fn a_missing_shard_is_noticed() {
        let cases: [(&[&str], usize); 7] = [
            (&["train-00000-of-00002.parquet"], 2),
            (&["train-00000-of-00001.parquet", "train-00000-of-00002.parquet"], 2),
            (&["train-00000-of-00001.parquet", "train-new.parquet"], 1),
            (&["train-00000-of-00002-b42a775f407cee45.parquet"], 2),
            (&["train-00000-of-00001-b42a775f407cee45.parquet", "train-00000-of-00001-af55.parquet"], 1),
            (&["train/0000.parquet", "train/0002.parquet"], 3),
            (&["main/train/0001.parquet"], 2),
        ];
        for (names, n) in cases {
            let error = choose(names).unwrap_err();
            assert!(matches!(error, LoadError::Shards { expected, .. } if expected == n), "{error}");
        }
    }
}
