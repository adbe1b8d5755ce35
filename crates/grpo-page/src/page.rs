//! The page, and the file of one that needs no server.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use grpo_files::write_atomically;
use grpo_record::{Place, RecordError, Run};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::PageError;
use crate::held_out::tests;
use crate::steps::{Index, Steps};

const STYLE: &str =
    concat!(include_str!("../assets/uplot/uPlot.min.css"), include_str!("../assets/page.css"));
const CHARTS: &str = include_str!("../assets/uplot/uPlot.iife.min.js");
/// Goes with every copy of the charts' code.
const CHARTS_LICENSE: &str = include_str!("../assets/uplot/LICENSE");
const SCRIPT: &str = concat!(
    include_str!("../assets/base.js"),
    include_str!("../assets/curves.js"),
    include_str!("../assets/completions.js"),
    include_str!("../assets/held_out.js"),
    include_str!("../assets/options.js"),
    include_str!("../assets/page.js"),
);
const BODY: &str = include_str!("../assets/page.html");

/// What a page holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the file.
    pub bytes: u64,
    /// Completions in it.
    pub completions: usize,
}

/// Writes a page of some runs. The file is complete or as it was before.
pub fn write_page(runs: &[Run], path: &Path) -> Result<Size, PageError> {
    let written = write_atomically(path, |file| {
        let mut size = Size::default();
        let mut out = Counted { inner: BufWriter::new(file), bytes: 0 };
        out.write_all(begin("'none'").as_bytes())?;
        block(&mut out, "data-runs", &runs)?;
        for (i, run) in runs.iter().enumerate() {
            let index = write_steps(i, run, &mut out)?;
            block(&mut out, &format!("data-{i}-index"), &index)?;
            let held_out = tests(&run.folder, &run.rewards).map_err(io::Error::other)?;
            block(&mut out, &format!("data-{i}-held-out"), &held_out)?;
            size.completions += index.completions();
        }
        out.write_all(end().as_bytes())?;
        size.bytes = out.bytes;
        out.flush()?;
        Ok(size)
    });
    let cause = |error: io::Error| {
        error.downcast().map_or_else(PageError::io(path), |error: RecordError| error.into())
    };
    written.map_err(cause)
}

/// Writes the completions of a run; returns their index.
fn write_steps(i: usize, run: &Run, out: &mut impl Write) -> io::Result<Index> {
    let mut index = Index::new(run.rewards.len());
    let mut steps = Steps::open(&run.folder, &run.rewards, Place::default()).map_err(io::Error::other)?;
    while let Some(step) = steps.next().map_err(io::Error::other)? {
        index.add(&step);
        block(out, &format!("data-{i}-step-{}", step.step), &step)?;
    }
    Ok(index)
}

/// The page up to its data. Its script may send requests to `connect`, a source of a content security policy.
pub(crate) fn begin(connect: &str) -> String {
    let [charts, script, style] = [CHARTS, SCRIPT, STYLE].map(hash);
    format!(
        "<!doctype html>\n<!-- uPlot, which draws the charts:\n\n{CHARTS_LICENSE}-->\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src {charts} {script}; \
         style-src {style}; img-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>GRPO runs</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n{BODY}\n"
    )
}

/// The page after its data.
pub(crate) fn end() -> String {
    format!("<script>{CHARTS}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")
}

/// A value as compressed JSON.
pub(crate) fn compressed(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(&mut compressed, value)?;
    compressed.finish()
}

/// A value that the page's script finds by its id. In base64 it cannot end its element.
fn block(out: &mut impl Write, id: &str, value: &impl Serialize) -> io::Result<()> {
    let encoded = STANDARD.encode(compressed(value)?);
    writeln!(out, "<script type=\"text/plain\" id=\"{id}\">{encoded}</script>")
}

/// How a content security policy names a script or a style.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// Counts the bytes that are written.
struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
