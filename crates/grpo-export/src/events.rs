//! Event files of TensorBoard.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::ExportError;
use crate::protobuf::{Dimension, Event, Metadata, PluginData, SessionLog, Shape, Summary, Tensor, Value};

/// `SessionLog.START`: a process has begun at its step.
const START: i32 = 1;
/// `DT_STRING`.
const STRING: i32 = 7;

/// An event file, to which values are appended.
///
/// TensorBoard reads all event files of a folder, so a run that is resumed writes another one. What an earlier file has of the steps
/// that are taken again is forgotten: with `--load_fast=false` when the later file begins, otherwise tag by tag, as soon as the later
/// file has a value of the same step or an earlier one.
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// A new file in `folder`, which is created if needed, of a run whose next step is `step`.
    pub fn create(folder: &Path, step: u64) -> Result<Self, ExportError> {
        fs::create_dir_all(folder).map_err(ExportError::write(folder))?;
        let created = now();
        // TensorBoard reads the files in the order of their names.
        let (path, file) = (0..)
            .find_map(|i| {
                let path = folder.join(format!("events.out.tfevents.{:010}.grpo.{i}", created as u64));
                match OpenOptions::new().append(true).create_new(true).open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    file => Some((path, file)),
                }
            })
            .expect("there is always another name");
        let mut events = Self { file: file.map_err(ExportError::write(&path))?, path };
        events.append(&Event {
            wall_time: created,
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        })?;
        events.append(&Event {
            wall_time: created,
            step: step.try_into().unwrap_or(i64::MAX),
            session_log: Some(SessionLog { status: START }),
            ..Event::default()
        })?;
        Ok(events)
    }

    /// Appends the numbers of a step.
    pub fn scalars<'a>(
        &mut self,
        step: u64,
        numbers: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<(), ExportError> {
        let value = |(tag, number): (&str, f64)| Value {
            tag: tag.to_owned(),
            simple_value: Some(number as f32),
            ..Value::default()
        };
        self.summary(step, numbers.into_iter().map(value).collect())
    }

    /// Appends a text of a step. TensorBoard takes it for Markdown, so it is shown as code.
    pub fn text(&mut self, step: u64, tag: &str, text: &str) -> Result<(), ExportError> {
        // Markdown also ends a line at a carriage return alone.
        let code: String = text.trim_end().split(['\n', '\r']).map(|line| format!("    {line}\n")).collect();
        let tensor = Tensor {
            dtype: STRING,
            shape: Some(Shape { dim: vec![Dimension { size: 1 }] }),
            string_val: vec![code.into_bytes()],
        };
        let value = Value {
            tag: format!("{tag}/text_summary"),
            tensor: Some(tensor),
            metadata: Some(Metadata { plugin_data: Some(PluginData { plugin_name: "text".to_owned() }) }),
            ..Value::default()
        };
        self.summary(step, vec![value])
    }

    fn summary(&mut self, step: u64, value: Vec<Value>) -> Result<(), ExportError> {
        let step = step.try_into().unwrap_or(i64::MAX);
        self.append(&Event { wall_time: now(), step, summary: Some(Summary { value }), ..Event::default() })
    }

    fn append(&mut self, event: &Event) -> Result<(), ExportError> {
        self.file.write_all(&record(&event.encode_to_vec())).map_err(ExportError::write(&self.path))
    }
}

/// A record of a TFRecord file: the length and the data, each with its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

/// CRC-32C, masked as TFRecord files have it.
fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_begins_at_a_step_and_texts_are_code() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 3).unwrap();
        events.text(3, "completion", "one\r![two](http://three)").unwrap();
        let bytes = fs::read(&events.path).unwrap();
        let (mut rest, mut found) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            found.push(Event::decode(&rest[12..12 + length]).unwrap());
            assert_eq!(record(&rest[12..12 + length]), rest[..length + 16]);
            rest = &rest[length + 16..];
        }
        let [version, start, text] = &found[..] else { panic!("{found:?}") };
        assert_eq!(version.file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((start.step, &start.session_log), (3, &Some(SessionLog { status: START })));
        let tensor = text.summary.as_ref().unwrap().value[0].tensor.as_ref().unwrap();
        assert_eq!(tensor.string_val, [b"    one\n    ![two](http://three)\n"]);
    }

    #[test]
    fn records_are_those_that_tensorboard_writes() {
        // By `RecordWriter` of the Python package (2.21).
        let written = [3, 0, 0, 0, 0, 0, 0, 0, 176, 153, 73, 14, b'a', b'b', b'c', 110, 87, 241, 33];
        assert_eq!(record(b"abc"), written);
    }
}
