use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, DictionaryArray, Int64Array, LargeStringArray, RecordBatch, StringArray,
    StringViewArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Int32Type};
use grpo_data::{Columns, LoadError, Split, load};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

/// Writes a Parquet file of these columns.
pub(crate) fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let properties =
        WriterProperties::builder().set_compression(Compression::SNAPPY).set_max_row_group_row_count(Some(3));
    write_with(path, columns, properties.build());
}

fn write_with(path: &Path, columns: Vec<(&str, ArrayRef)>, properties: WriterProperties) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Writes examples whose truths are `truths`.
pub(crate) fn write_truths(path: &Path, truths: &[&str]) {
    let answers: Vec<String> = truths.iter().map(|truth| format!("So it is.\n#### {truth}")).collect();
    write(
        path,
        vec![
            ("question", strings(&vec!["q"; truths.len()])),
            ("answer", Arc::new(StringArray::from(answers))),
        ],
    );
}

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    (folder, path)
}

fn check_error(columns: Vec<(&str, ArrayRef)>, parts: &[&str]) {
    let (_folder, path) = file();
    write(&path, columns);
    let message = load(&path, &Split::train(), &Columns::default()).unwrap_err().to_string();
    for part in ["a.parquet"].iter().chain(parts) {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn columns_by_name_over_row_groups() {
    let (_folder, path) = file();
    let answers = strings(&["#### 1", "#### 2", "#### 3", "#### 4,000", "#### -5"]);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![9; 5]));
    write(&path, vec![("answer", answers), ("id", ids), ("question", strings(&["a", "b", "c", "d", "é"]))]);
    let examples = load(&path, &Split::train(), &Columns::default()).unwrap();
    let truths: Vec<&str> = examples.iter().map(|example| example.truth.as_str()).collect();
    assert_eq!(truths, ["1", "2", "3", "4000", "-5"]);
    assert_eq!(examples[4].question, "é");
    assert_eq!(examples[3].solution, "#### 4,000");
}

#[test]
fn every_arrow_type_of_string() {
    let values = ["#### 1", "#### 2"];
    let columns: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from(values.to_vec())),
        Arc::new(StringViewArray::from(values.to_vec())),
        Arc::new(values.into_iter().collect::<DictionaryArray<Int32Type>>()),
    ];
    for column in columns {
        let (_folder, path) = file();
        write(&path, vec![("question", column.clone()), ("answer", column)]);
        let examples = load(&path, &Split::train(), &Columns::default()).unwrap();
        assert_eq!((examples[1].question.as_str(), examples[1].truth.as_str()), ("#### 2", "2"));
    }
}

#[test]
fn every_compression() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    let questions: Vec<String> = (0..2000).map(|n| format!("{n} and {n} apples?")).collect();
    let answers: Vec<String> = (0..2000).map(|n| format!("That is {n}.\n#### {}", n % 7)).collect();
    let columns = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("question", Arc::new(StringArray::from(questions.clone()))),
            ("answer", Arc::new(StringArray::from(answers.clone()))),
        ]
    };
    for (codec, version) in codecs.iter().flat_map(|&codec| {
        [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0].map(|version| (codec, version))
    }) {
        let (_folder, path) = file();
        let properties = WriterProperties::builder().set_compression(codec).set_writer_version(version);
        write_with(&path, columns(), properties.set_data_page_size_limit(1000).build());
        let examples = load(&path, &Split::train(), &Columns::default())
            .unwrap_or_else(|error| panic!("{codec} {version:?}: {error}"));
        let read: Vec<&str> = examples.iter().map(|example| example.question.as_str()).collect();
        assert_eq!(read, questions, "{codec} {version:?}");
        assert_eq!(examples[1999].truth, "4");
    }
}

/// The writer knows no LZO, so the name of a codec is replaced: field 4 of the columns' metadata in the footer.
#[test]
fn a_compression_that_nobody_reads_is_named() {
    let (_folder, path) = file();
    let uncompressed = WriterProperties::builder().set_compression(Compression::LZ4_RAW).build();
    write_with(&path, vec![("question", strings(&["q"])), ("answer", strings(&["#### 1"]))], uncompressed);
    let mut bytes = fs::read(&path).unwrap();
    for name in ["question", "answer"] {
        let in_path = [&[0x19, 0x18, name.len() as u8], name.as_bytes(), &[0x15, 0x0e]].concat(); // 0x0e: LZ4_RAW
        let at =
            bytes.windows(in_path.len()).position(|window| window == in_path).unwrap() + in_path.len() - 1;
        bytes[at] = 0x06; // LZO
    }
    fs::write(&path, bytes).unwrap();
    let error = load(&path, &Split::train(), &Columns::default()).unwrap_err();
    assert!(matches!(error, LoadError::Codec { codec: "LZO", .. }), "{error}");
}

/// Small files of 100 MB of text and more: in one page, in one that lies about it, and as rows that repeat a value.
#[test]
fn files_that_would_fill_the_memory_are_refused() {
    let check = |path: &Path| {
        assert!(fs::metadata(path).unwrap().len() < 200_000);
        let error = load(path, &Split::train(), &Columns::default()).unwrap_err().to_string();
        assert!(error.contains("unpacks to more"), "{error}");
    };
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000_000)]));
    let codecs = [
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        let (_folder, path) = file();
        let properties =
            WriterProperties::builder().set_compression(codec).set_dictionary_enabled(false).build();
        write_with(&path, vec![("question", long.clone()), ("answer", strings(&["#### 1"]))], properties);
        check(&path);
        // The first page's header has its type and its unpacked size, here 1 in as many bytes.
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!((&bytes[4..7], bytes[10]), (&[0x15, 0, 0x15][..], bytes[10] & 0x7f));
        bytes[7..11].copy_from_slice(&[0x82, 0x80, 0x80, 0]);
        fs::write(&path, bytes).unwrap();
        if !matches!(codec, Compression::ZSTD(_)) {
            check(&path);
        }
        load(&path, &Split::train(), &Columns::default()).unwrap_err();
    }
    let (_folder, path) = file();
    let repeated = "x".repeat(64 << 10);
    let columns =
        vec![("question", strings(&[repeated.as_str(); 2400])), ("answer", strings(&["#### 1"; 2400]))];
    write_with(&path, columns, WriterProperties::builder().build());
    check(&path);
}

#[test]
fn columns_that_are_not_read_may_be_anything() {
    let (_folder, path) = file();
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let fields: Vec<(Arc<Field>, ArrayRef)> = ["question", "answer"]
        .map(|name| (Arc::new(Field::new(name, DataType::Int64, true)), numbers.clone()))
        .to_vec();
    let nested: ArrayRef = Arc::new(StructArray::from(fields));
    let columns = vec![
        ("meta", nested),
        ("question", strings(&["q"])),
        ("Question", numbers.clone()),
        ("answer", strings(&["#### 1"])),
    ];
    write(&path, columns);
    assert_eq!(load(&path, &Split::train(), &Columns::default()).unwrap()[0].truth, "1");
}

#[test]
fn wrong_columns() {
    let number: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff"[..]]));
    check_error(
        vec![("question", strings(&["q"])), ("Answer", strings(&["a"]))],
        &["no column `answer`", "question, Answer"],
    );
    check_error(vec![("question", number), ("answer", strings(&["a"]))], &["row 1: `question` is a number"]);
    check_error(vec![("question", strings(&["q"])), ("answer", bytes)], &["`answer` is of type Binary"]);
    let answer = |text| ("answer", strings(&[text]));
    check_error(
        vec![("question", strings(&["q"])), answer("#### 1"), answer("#### 2")],
        &["several columns `answer`"],
    );
}

#[test]
fn wrong_rows() {
    let holed: ArrayRef =
        Arc::new(StringArray::from(vec![Some("#### 1"), Some("#### 1"), Some("#### 1"), None]));
    check_error(vec![("question", strings(&["q"; 4])), ("answer", holed)], &["row 4: `answer` is null"]);
    check_error(
        vec![("question", strings(&["q"; 2])), ("answer", strings(&["#### 1", "2"]))],
        &["row 2", "####"],
    );
    check_error(vec![("question", strings(&[])), ("answer", strings(&[]))], &["no row"]);
}

#[test]
fn no_damage_panics() {
    let (_folder, path) = file();
    write_truths(&path, &["1", "2", "3", "4"]);
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = load(&path, &Split::train(), &Columns::default()).unwrap_err();
        assert!(matches!(error, LoadError::Parquet { .. }), "{length}: {error}");
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= [0x01, 0x80, 0xff][at % 3];
        fs::write(&path, damaged).unwrap();
        let _ = load(&path, &Split::train(), &Columns::default()); // some damage is harmless
    }
}

/// A footer of a kilobyte that says of 150 fields that they are lists of two billion numbers.
#[test]
fn lists_that_never_end_are_given_up() {
    let (_folder, path) = file();
    let mut footer = Vec::new();
    for _ in 0..150 {
        footer.extend([0xf9, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07]); // the next field but 14: a list of 2^31 - 1 booleans
    }
    footer.push(0);
    let length = u32::try_from(footer.len()).unwrap().to_le_bytes();
    fs::write(&path, [b"PAR1", &footer[..], &length, b"PAR1"].concat()).unwrap();
    let start = std::time::Instant::now();
    let error = load(&path, &Split::train(), &Columns::default()).unwrap_err().to_string();
    assert!(error.contains("longer than any whole file"), "{error} after {:?}", start.elapsed());
}
