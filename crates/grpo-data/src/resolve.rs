//! Resolves what a user typed: a path, or an id on the Hub.

use std::path::{Path, PathBuf};

use crate::hub::is_id;
use crate::{Columns, Error, Example, Hub, Split, load};

/// The folder of a model: `arg` itself if it exists, else the local copy of that model on the Hub.
///
/// # Errors
///
/// [`Error::Unresolved`] if `arg` is neither a path nor of the form `owner/name`; else the Hub's error.
pub fn resolve_model(arg: &str, hub: &Hub) -> Result<PathBuf, Error> {
    let path = Path::new(arg);
    if path.is_dir() {
        Ok(path.to_owned())
    } else if path.exists() {
        Err(Error::NotAFolder { path: path.to_owned() })
    } else if is_id(arg) {
        Ok(hub.model(arg)?)
    } else {
        Err(Error::Unresolved { arg: arg.to_owned(), example: "Qwen/Qwen2.5-0.5B-Instruct" })
    }
}

/// The examples of a dataset: of the file or folder `arg` if it exists, else of that dataset on the Hub.
///
/// # Errors
///
/// [`Error::Unresolved`] if `arg` is neither a path nor of the form `owner/name`; else the error of the dataset
/// or of the Hub.
pub fn resolve_dataset(
    arg: &str,
    split: &Split,
    columns: &Columns,
    hub: &Hub,
) -> Result<Vec<Example>, Error> {
    if Path::new(arg).exists() {
        Ok(load(arg, split, columns)?)
    } else if is_id(arg) {
        hub.dataset(arg, split, columns)
    } else {
        Err(Error::Unresolved { arg: arg.to_owned(), example: "openai/gsm8k" })
    }
}
