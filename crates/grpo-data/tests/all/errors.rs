//! An error and its chain of sources state a reason once.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use grpo_data::{Error, HubError, LoadError};

const REASON: &str = "the very reason";

fn path() -> PathBuf {
    "a/b".into()
}

fn io_error() -> io::Error {
    io::Error::other(REASON)
}

fn load_errors() -> Vec<LoadError> {
    let (line, row) = (2, 3);
    vec![
        LoadError::NotFound { path: path() },
        LoadError::Io { path: path(), cause: io_error() },
        LoadError::LfsPointer { path: path() },
        LoadError::Packed { path: path(), tool: "gzip" },
        LoadError::NoSplit { place: "a".into(), split: "test".into(), config: None, found: vec![] },
        LoadError::Shards { place: "a".into(), expected: 2, found: vec![] },
        LoadError::Format { path: path() },
        LoadError::Parquet { path: path(), reason: REASON.into() },
        LoadError::Codec { path: path(), codec: "LZO" },
        LoadError::Column { path: path(), column: "answer".into(), found: vec![] },
        LoadError::Type { place: "a".into(), column: "answer".into(), found: "5".into() },
        LoadError::Json { path: path(), line, reason: REASON.into() },
        LoadError::Encoding { path: path(), encoding: "UTF-16LE" },
        LoadError::Utf8 { path: path(), line, byte: 1 },
        LoadError::Field { path: path(), line, field: "answer".into() },
        LoadError::Repeated { path: path(), line, field: "answer".into() },
        LoadError::NoTruth { path: path(), row, reason: "has none".into() },
        LoadError::Pattern { pattern: "(".into(), reason: REASON.into() },
        LoadError::SameColumn { column: "answer".into() },
        LoadError::Empty { files: vec![path()] },
        LoadError::Filtered { files: vec![path()] },
        LoadError::Csv { path: path(), row, reason: REASON.into() },
        LoadError::Conversation { place: "a".into(), column: "question".into(), reason: REASON.into() },
        LoadError::Template { setting: "prompt", reason: REASON.into() },
        LoadError::Render { place: "a".into(), setting: "prompt", reason: REASON.into(), columns: vec![] },
    ]
}

fn hub_errors() -> Vec<HubError> {
    let what = || "`c` of the model `a/b`".to_owned();
    let endpoint = || "https://hub".to_owned();
    vec![
        HubError::Id { id: "a".into() },
        HubError::Revision { revision: "a b".into() },
        HubError::Home,
        HubError::Variable { name: "HF_HOME", reason: REASON.into() },
        HubError::Endpoint { endpoint: endpoint() },
        HubError::Token,
        HubError::Offline { what: what(), cache: path() },
        HubError::Snapshots { what: what(), folders: vec![path()] },
        HubError::Weights { what: what(), found: vec!["a.gguf".into()], advice: "convert it" },
        HubError::NotFound { what: what(), endpoint: endpoint() },
        HubError::Denied { what: what(), status: 401, page: endpoint(), token: "log in" },
        HubError::Status { what: what(), status: 500, retry_after: None },
        HubError::Connection {
            what: what(),
            endpoint: endpoint(),
            cause: Box::new(ureq::Error::Io(io_error())),
        },
        HubError::Cut { what: what(), done: 1, total: 2, cause: io_error() },
        HubError::TooLong { what: what(), total: 2 },
        HubError::Hash { what: what(), expected: "0".into() },
        HubError::Protocol { what: what(), endpoint: endpoint(), reason: REASON.into() },
        HubError::Index { path: path(), reason: REASON.into() },
        HubError::Io { path: path(), cause: io_error() },
    ]
}

#[test]
fn a_reason_is_said_once() {
    let mut errors =
        vec![Error::Unresolved { arg: "a".into(), example: "b/c" }, Error::NotAFolder { path: path() }];
    errors.extend(load_errors().into_iter().map(Error::from));
    errors.extend(hub_errors().into_iter().map(Error::from));
    for error in &errors {
        let has_reason = format!("{error:?}").contains(REASON);
        assert_eq!(error.to_string().contains(REASON), has_reason, "{error:?}: the message alone is enough");
        let (mut above, mut source) = (error.to_string(), error.source());
        while let Some(error) = source {
            assert!(!above.contains(&error.to_string()), "{above:?} repeats {error}");
            (above, source) = (error.to_string(), error.source());
        }
    }
}
