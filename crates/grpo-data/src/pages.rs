//! Checks the unpacked size of a Parquet file's pages before they are unpacked.
//!
//! A kilobyte can unpack to gigabytes. The decoder (parquet 60.1) trusts the sizes that pages claim, and has no
//! limit for gzip and brotli.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// How much any file may unpack to, plus an allowance per byte of it: many times what real files need.
const LIMIT: u64 = 64 << 20;
const LIMIT_PER_BYTE: u64 = 256;

/// How many bytes a file of this length may unpack to.
pub(crate) fn limit(length: u64) -> u64 {
    LIMIT.saturating_add(length.saturating_mul(LIMIT_PER_BYTE))
}

/// Whether the pages of these columns unpack to no more than they claim, and together to no more than the limit.
pub(crate) fn are_bounded(file: &File, metadata: &ParquetMetaData, columns: &[usize]) -> io::Result<bool> {
    let length = file.metadata()?.len();
    let mut left = limit(length);
    let chunks = metadata.row_groups().iter().flat_map(|group| columns.iter().map(|&i| group.column(i)));
    for chunk in chunks {
        let (start, compressed) = chunk.byte_range();
        let mut input = BufReader::new(file);
        input.seek(SeekFrom::Start(start))?;
        let mut input = input.take(compressed.min(length.saturating_sub(start)));
        // The decoder refuses anything that is not a page.
        while let Ok(page) = Page::read(&mut input) {
            let unpacked = u64::from(page.unpacked);
            let mut body = input.by_ref().take(page.packed.into());
            if unpacked > left || !page.keeps_its_word(chunk, &mut body) {
                return Ok(false);
            }
            left -= unpacked;
            io::copy(&mut body, &mut io::sink())?;
        }
    }
    Ok(true)
}

/// The parts of a page header that say how large the page is.
#[derive(Default)]
struct Page {
    packed: u32,
    unpacked: u32,
    /// Bytes before the compressed ones.
    levels: u32,
    is_plain: bool,
}

impl Page {
    fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut page = Self::default();
        let (mut id, mut inner) = (0, 0);
        while let Some(kind) = field(input, &mut id)? {
            match (id, kind) {
                (2, I32) => page.unpacked = size(input)?,
                (3, I32) => page.packed = size(input)?,
                (8, STRUCT) => {
                    while let Some(kind) = field(input, &mut inner)? {
                        match (inner, kind) {
                            (5 | 6, I32) => page.levels = page.levels.saturating_add(size(input)?),
                            (7, FALSE) => page.is_plain = true,
                            _ => skip(input, kind, 0)?,
                        }
                    }
                }
                _ => skip(input, kind, 0)?,
            }
        }
        Ok(page)
    }

    /// Whether the body unpacks to no more than the header says; always true for codecs other than gzip and brotli,
    /// which stop at that size.
    fn keeps_its_word(&self, chunk: &ColumnChunkMetaData, body: &mut impl Read) -> bool {
        if self.is_plain {
            return true;
        }
        let claimed = u64::from(self.unpacked.saturating_sub(self.levels));
        let unpack = |codec: &mut dyn Read| io::copy(&mut codec.take(claimed + 1), &mut io::sink());
        let packed = |body: &mut dyn Read| io::copy(&mut body.take(self.levels.into()), &mut io::sink());
        if !matches!(chunk.compression(), Compression::GZIP(_) | Compression::BROTLI(_))
            || packed(body).is_err()
        {
            return true;
        }
        let unpacked = match chunk.compression() {
            Compression::GZIP(_) => unpack(&mut flate2::read::MultiGzDecoder::new(body)),
            _ => unpack(&mut brotli::Decompressor::new(body, 4096)),
        };
        // The decoder also refuses damaged pages.
        unpacked.map_or(true, |unpacked| unpacked <= claimed)
    }
}

// Thrift's compact protocol (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const STRUCT: u8 = 12;
/// How deeply values may nest; in a page header it is three.
const MAX_DEPTH: u32 = 8;

/// The type of the next field of a struct, whose number is left in `id`; `None` at the end.
fn field(input: &mut impl Read, id: &mut u64) -> io::Result<Option<u8>> {
    let head = byte(input)?;
    match (head >> 4, head & 0x0f) {
        (_, 0) => return Ok(None),
        (0, _) => *id = varint(input)? >> 1, // signed; there are no negative ones
        (delta, _) => *id = id.saturating_add(delta.into()),
    }
    Ok(Some(head & 0x0f))
}

/// Skips a value.
fn skip(input: &mut impl Read, kind: u8, depth: u32) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match kind {
        TRUE | FALSE => Ok(()),
        3 => byte(input).map(drop),
        4..=6 => varint(input).map(drop),
        7 => pass(input, 8),
        8 => {
            let length = varint(input)?;
            pass(input, length)
        }
        9 | 10 => {
            let head = byte(input)?;
            let length = if head >> 4 == 15 { varint(input)? } else { (head >> 4).into() };
            let kind = if matches!(head & 0x0f, TRUE | FALSE) { 3 } else { head & 0x0f }; // a byte in lists
            (0..length).try_for_each(|_| skip(input, kind, depth + 1))
        }
        STRUCT => {
            let mut id = 0;
            while let Some(kind) = field(input, &mut id)? {
                skip(input, kind, depth + 1)?;
            }
            Ok(())
        }
        _ => Err(io::ErrorKind::InvalidData.into()), // no header has a map
    }
}

fn size(input: &mut impl Read) -> io::Result<u32> {
    let signed = varint(input)?;
    u32::try_from(signed >> 1)
        .ok()
        .filter(|_| signed & 1 == 0)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn varint(input: &mut impl Read) -> io::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(input)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn byte(input: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    input.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn pass(input: &mut impl Read, length: u64) -> io::Result<()> {
    match io::copy(&mut input.take(length), &mut io::sink())? {
        passed if passed == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
