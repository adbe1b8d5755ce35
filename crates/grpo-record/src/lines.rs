//! Files of one JSON value per line.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::RecordError;

/// A place between two lines of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Lines before it.
    line: usize,
    /// Bytes before it.
    byte: u64,
}

/// The values of a file, one after the other; a last line without its end, which is still being written, is left out.
pub struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    /// Where the next line begins.
    place: Place,
    buffer: Vec<u8>,
}

impl Lines {
    /// The values from some place on; none if there is no such file.
    pub fn open(path: &Path, place: Place) -> Result<Option<Self>, RecordError> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RecordError::io(path)(error)),
        };
        file.seek(SeekFrom::Start(place.byte)).map_err(RecordError::io(path))?;
        Ok(Some(Self { path: path.into(), file, place, buffer: Vec::new() }))
    }

    /// Where the next value begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The next value; none at the end.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<Option<T>, RecordError> {
        self.buffer.clear();
        self.file.read_until(b'\n', &mut self.buffer).map_err(RecordError::io(&self.path))?;
        if self.buffer.last() != Some(&b'\n') {
            return Ok(None);
        }
        self.place.line += 1;
        self.place.byte += self.buffer.len() as u64;
        let record = |cause| RecordError::Damaged { path: self.path.clone(), line: self.place.line, cause };
        serde_json::from_slice(self.buffer.trim_ascii_end()).map(Some).map_err(record)
    }
}

/// All values of a file; none if there is no such file.
pub(crate) fn all<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    let mut values = Vec::new();
    if let Some(mut lines) = Lines::open(path, Place::default())? {
        while let Some(value) = lines.read()? {
            values.push(value);
        }
    }
    Ok(values)
}
