//! What can be wrong with a dataset, or with what a user asked for.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use minijinja::ErrorKind;

use crate::HubError;
use crate::reader::{Place, Row};

/// Why a dataset could not be read. Rows and lines count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The path does not exist.
    #[error("{path}: no such file or folder; check the path", path = path.display())]
    NotFound {
        /// The requested path.
        path: PathBuf,
    },
    /// The operating system refused to read.
    #[error("{path}: cannot be read: {cause}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file is a Git LFS pointer; its content was not downloaded.
    #[error(
        "{path}: a Git LFS pointer, not the file itself; run `git lfs pull` in the cloned repository",
        path = path.display()
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// A file is compressed as a whole.
    #[error("{path}: compressed with {tool}; unpack it, as `{tool} -d` does", path = path.display())]
    Packed {
        /// The file.
        path: PathBuf,
        /// The program that unpacks it.
        tool: &'static str,
    },
    /// No file of the folder or repository belongs to the split.
    #[error(
        "{place}: no file of the split `{split}`; it must hold `{split}-*.parquet`, `{split}.parquet` or \
         `{split}/*.parquet` (or `.jsonl` or `.csv`), {folders}; found: {found}",
        folders = folders(config.as_deref()), found = list(found)
    )]
    NoSplit {
        /// The folder or repository.
        place: String,
        /// The requested split.
        split: String,
        /// The requested configuration.
        config: Option<String>,
        /// The names of the files there.
        found: Vec<String>,
    },
    /// The names of the shards state a different number of shards, or several numbers.
    #[error(
        "{place}: there should be {expected} shards; found: {found}; get the missing ones, or remove those of \
         another dataset",
        found = list(found)
    )]
    Shards {
        /// The folder or repository.
        place: String,
        /// The number in the names, as in `-of-00003`.
        expected: usize,
        /// The shards there.
        found: Vec<String>,
    },
    /// A file is neither Parquet nor JSONL nor CSV, judging by its name.
    #[error(
        "{path}: only `.parquet`, `.jsonl` and `.csv` files hold datasets; convert or rename it",
        path = path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A file is not Parquet, is cut short or is damaged.
    #[error(
        "{path}: not a readable Parquet file ({reason}); download or write it again",
        path = path.display()
    )]
    Parquet {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        reason: String,
    },
    /// A Parquet file uses an unsupported compression.
    #[error(
        "{path}: compressed with {codec}, which cannot be unpacked here; write it again with zstd or snappy",
        path = path.display()
    )]
    Codec {
        /// The file.
        path: PathBuf,
        /// The compression's name.
        codec: &'static str,
    },
    /// A Parquet or CSV file lacks a column.
    #[error(
        "{path}: no column `{column}`; found: {found}; name the columns of questions and answers",
        path = path.display(), found = list(found)
    )]
    Column {
        /// The file.
        path: PathBuf,
        /// The column that is missing.
        column: String,
        /// The columns there.
        found: Vec<String>,
    },
    /// A question or an answer is not text.
    #[error(
        "{place}: `{column}` is {found}; it must be text (a question may be a conversation, and an answer a whole number if its \
         truth is not after `####`)"
    )]
    Type {
        /// The file, and the line or row.
        place: String,
        /// The column or field.
        column: String,
        /// The type it has.
        found: String,
    },
    /// A row of a CSV file is malformed.
    #[error("{path}: row {row} cannot be read: {reason}", path = path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The row below the names of the columns, which are row 0.
        row: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A question is a list, but no conversation.
    #[error(
        "{place}: `{column}` {reason}; a conversation is a list of messages with a `role` and a `content`"
    )]
    Conversation {
        /// The file, and the line or row.
        place: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A template or filter is malformed.
    #[error("`{setting}` of the dataset's columns: {reason}")]
    Template {
        /// `prompt`, `truth` or `filter`.
        setting: &'static str,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// A template or filter fails on a row.
    #[error("{place}: `{setting}` fails: {reason}; the columns are {columns}", columns = list(columns))]
    Render {
        /// The file, and the line or row.
        place: String,
        /// `prompt`, `truth` or `filter`.
        setting: &'static str,
        /// What is wrong.
        reason: String,
        /// The columns of the row.
        columns: Vec<String>,
    },
    /// A line is not a JSON object.
    #[error("{path}: line {line} is not a JSON object: {reason}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The parser's error, with the column.
        reason: String,
    },
    /// A file is text in an encoding other than UTF-8.
    #[error(
        "{path}: the text is {encoding}; convert it to UTF-8, as `iconv -f {encoding} -t UTF-8` does",
        path = path.display()
    )]
    Encoding {
        /// The file.
        path: PathBuf,
        /// The name of the encoding, as in `UTF-16LE`.
        encoding: &'static str,
    },
    /// A line is not text.
    #[error(
        "{path}: line {line} is not valid UTF-8 (byte {byte}); save the file as UTF-8",
        path = path.display()
    )]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The first invalid byte of the line, from 1.
        byte: usize,
    },
    /// A line lacks a field.
    #[error(
        "{path}: line {line} has no field `{field}`; every line needs it; name the fields of questions and answers if \
         they are others",
        path = path.display()
    )]
    Field {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The field that is missing.
        field: String,
    },
    /// A line has a field twice, and the values differ.
    #[error("{path}: line {line} has two different values of `{field}`; keep one", path = path.display())]
    Repeated {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The field.
        field: String,
    },
    /// An answer has no truth.
    #[error("{path}: the answer of row {row} {reason}", path = path.display())]
    NoTruth {
        /// The file.
        path: PathBuf,
        /// The row; in a JSONL file the line.
        row: usize,
        /// What it lacks, and what to do.
        reason: String,
    },
    /// The pattern for truths is not a regular expression.
    #[error("the pattern {pattern:?} for truths is no regular expression of the crate `regex`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Questions and answers are the same column.
    #[error("`{column}` is the column of questions and of answers: a question would give its answer away")]
    SameColumn {
        /// The column.
        column: String,
    },
    /// No file of a dataset has a row.
    #[error("no row in {files}; download or write it again", files = list(&names(files)))]
    Empty {
        /// The files.
        files: Vec<PathBuf>,
    },
    /// The filter leaves no row.
    #[error("`filter` is true for no row of {files}: change it", files = list(&names(files)))]
    Filtered {
        /// The files.
        files: Vec<PathBuf>,
    },
}

impl LoadError {
    pub(crate) fn template(setting: &'static str, error: &minijinja::Error) -> Self {
        Self::Template { setting, reason: error.to_string() }
    }

    /// `names` are those that the template or filter mentions.
    pub(crate) fn render(
        place: Place<'_>,
        setting: &'static str,
        row: &Row,
        error: &minijinja::Error,
        names: &HashSet<String>,
    ) -> Self {
        // Functions have names, too, but then something else is wrong.
        let unknown = names.iter().filter(|name| !row.contains_key(*name)).min();
        let reason = match (error.kind(), unknown) {
            (ErrorKind::UndefinedError, Some(name)) => format!("there is no column `{name}`"),
            _ => error.to_string(),
        };
        Self::Render { place: place.to_string(), setting, reason, columns: row.keys().cloned().collect() }
    }

    /// For `map_err`: names the file or folder that the system could not read.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| match cause.kind() {
            io::ErrorKind::NotFound => Self::NotFound { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), cause },
        }
    }
}

/// Why a user's request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A dataset could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A request to the Hub failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The argument is neither a path nor an id.
    #[error("`{arg}` is neither an existing path nor an id on the Hub (`owner/name`, as in `{example}`)")]
    Unresolved {
        /// What was given.
        arg: String,
        /// An example of a valid id.
        example: &'static str,
    },
    /// A model was given as a file.
    #[error(
        "{path}: a model is a folder with `config.json`, `tokenizer.json` and weights; give the folder",
        path = path.display()
    )]
    NotAFolder {
        /// The path given.
        path: PathBuf,
    },
}

fn folders(config: Option<&str>) -> String {
    config.map_or("itself or in `main`, `data` or `default`".to_owned(), |config| format!("in `{config}`"))
}

fn names(paths: &[PathBuf]) -> Vec<String> {
    paths.iter().map(|path| path.display().to_string()).collect()
}

/// The first names of a list that may be long.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names {
        [] => "nothing".to_owned(),
        _ if names.len() <= SHOWN => names.join(", "),
        _ => format!("{}, and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}
