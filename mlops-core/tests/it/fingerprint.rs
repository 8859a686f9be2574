//! The same rows have the same fingerprint, however they lie in files.

use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, StringViewArray, TimestampMillisecondArray,
};
use mlops_core::data::{Column, ColumnKind, Dataset, Fingerprint, TableSchema};
use proptest::prelude::*;

/// One row: text, float, integer, truth value, time in milliseconds.
type Row = (Option<String>, Option<f64>, Option<i64>, Option<bool>, Option<i64>);

fn schema() -> TableSchema {
    TableSchema::new([
        Column::new("shop.name", ColumnKind::Text),
        Column::new("amount", ColumnKind::Float),
        Column::new("clicks", ColumnKind::Integer),
        Column::new("bought", ColumnKind::Boolean),
        Column::new("time", ColumnKind::Timestamp),
    ])
    .unwrap()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop::option::of(prop_oneof!["[a-c]", "[ -~é\"\n]{1,6}"]);
    let float = prop::option::of(prop_oneof![any::<f64>(), Just(-0.0), Just(f64::NAN), Just(1.5)]);
    let time = prop::option::of(-60_000_000_000_000_i64..60_000_000_000_000);
    let row = (text, float, prop::option::of(any::<i64>()), prop::option::of(any::<bool>()), time);
    prop::collection::vec(row, 0..40)
}

/// The columns in the types of the schema, and one that the schema does not name.
fn plain(rows: &[Row]) -> RecordBatch {
    let texts: StringArray = rows.iter().map(|row| row.0.as_deref()).collect();
    let floats: Float64Array = rows.iter().map(|row| row.1).collect();
    let integers: Int64Array = rows.iter().map(|row| row.2).collect();
    let truths: BooleanArray = rows.iter().map(|row| row.3).collect();
    let times: TimestampMillisecondArray = rows.iter().map(|row| row.4).collect();
    let unused = Int32Array::from(vec![7; rows.len()]);
    let columns: [(&str, ArrayRef, bool); 6] = [
        ("unused", Arc::new(unused), true),
        ("time", Arc::new(times.with_timezone("+00:00")), true),
        ("shop.name", Arc::new(texts), true),
        ("amount", Arc::new(floats), true),
        ("bought", Arc::new(truths), true),
        ("clicks", Arc::new(integers), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The same rows with texts as `kind` says.
fn with_texts(rows: &[Row], kind: usize) -> RecordBatch {
    let batch = plain(rows);
    let texts = || rows.iter().map(|row| row.0.as_deref());
    let texts: ArrayRef = match kind {
        0 => return batch,
        1 => Arc::new(texts().collect::<DictionaryArray<arrow_array::types::Int32Type>>()),
        2 => Arc::new(texts().collect::<LargeStringArray>()),
        _ => Arc::new(texts().collect::<StringViewArray>()),
    };
    let fields = batch.schema().fields().clone();
    let columns = fields.iter().zip(batch.columns()).map(|(field, column)| {
        let column = if field.name() == "shop.name" { Arc::clone(&texts) } else { Arc::clone(column) };
        (field.name().clone(), column, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

/// The rows cut at these places.
fn cut(rows: &[Row], places: &[prop::sample::Index]) -> Vec<Range<usize>> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(rows.len() + 1)).collect();
    places.extend([0, rows.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| ends[0]..ends[1]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn batches_and_encodings_do_not_matter(
        rows in rows(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..4), kind in 0_usize..4,
    ) {
        let whole = Dataset::new(schema(), [plain(&rows)]).unwrap().fingerprint();
        let pieces = cut(&rows, &places).into_iter().map(|piece| with_texts(&rows[piece], kind));
        prop_assert_eq!(Dataset::new(schema(), pieces.clone()).unwrap().fingerprint(), whole);
        let mut streamed = Fingerprint::new(&schema());
        for piece in pieces {
            streamed.update(&piece).unwrap();
        }
        prop_assert_eq!(streamed.finish(), whole);
    }

    #[test]
    fn a_changed_cell_or_order_does_matter(rows in rows(), at: prop::sample::Index, column in 0_usize..5) {
        prop_assume!(!rows.is_empty());
        let fingerprint = |rows: &[Row]| Dataset::new(schema(), [plain(rows)]).unwrap().fingerprint();
        let mut changed = rows.clone();
        let row = &mut changed[at.index(rows.len())];
        match column {
            0 => row.0 = match row.0.take() { Some(text) => Some(text + "x"), None => Some(String::new()) },
            1 => row.1 = if row.1.is_none() { Some(0.0) } else { None },
            2 => row.2 = if row.2 == Some(0) { None } else { Some(0) },
            3 => row.3 = if row.3 == Some(false) { None } else { Some(false) },
            _ => row.4 = Some(row.4.map_or(0, |time| time + 1)),
        }
        prop_assert_ne!(fingerprint(&changed), fingerprint(&rows));
        let mut turned = rows.clone();
        turned.reverse();
        let same = format!("{turned:?}") == format!("{rows:?}");
        prop_assert_eq!(fingerprint(&turned) == fingerprint(&rows), same);
    }

    #[cfg(feature = "ipc")]
    #[test]
    fn ipc_files_do_not_matter(
        rows in rows(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..4), kind in 0_usize..4,
    ) {
        let whole = Dataset::new(schema(), [plain(&rows)]).unwrap().fingerprint();
        let mut file = Vec::new();
        let mut writer =
            arrow_ipc::writer::FileWriter::try_new(&mut file, &with_texts(&rows, kind).schema()).unwrap();
        for piece in cut(&rows, &places) {
            // One dictionary for the whole file, as the format wants.
            writer.write(&with_texts(&rows, kind).slice(piece.start, piece.len())).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        let read = Dataset::from_ipc(Cursor::new(file), schema()).unwrap();
        prop_assert_eq!(read.fingerprint(), whole);
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn parquet_files_do_not_matter(
        rows in rows(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        group_rows in 1_usize..50, dictionary: bool, codec in 0_usize..4,
    ) {
        use parquet::basic::{Compression, GzipLevel};
        let whole = Dataset::new(schema(), [plain(&rows)]).unwrap().fingerprint();
        let codecs = [
            Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::GZIP(GzipLevel::default()), Compression::LZ4_RAW,
        ];
        let properties = parquet::file::properties::WriterProperties::builder()
            .set_max_row_group_row_count(Some(group_rows))
            .set_dictionary_enabled(dictionary)
            .set_compression(codecs[codec])
            .build();
        let mut file = Vec::new();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut file, plain(&[]).schema(), Some(properties)).unwrap();
        for piece in cut(&rows, &places) {
            writer.write(&plain(&rows[piece])).unwrap();
        }
        writer.close().unwrap();
        let read = Dataset::from_parquet(bytes::Bytes::from(file), schema()).unwrap();
        prop_assert_eq!(read.fingerprint(), whole);
    }

    #[cfg(feature = "csv")]
    #[test]
    fn csv_files_do_not_matter(rows in rows()) {
        // A CSV cannot tell an empty text from a missing one; the texts here are not empty.
        let data = Dataset::new(schema(), [plain(&rows)]).unwrap();
        let mut file = Vec::new();
        data.write_csv(&mut file).unwrap();
        let read = Dataset::from_csv(&file[..], schema()).unwrap();
        prop_assert_eq!(read.fingerprint(), data.fingerprint(), "{}", String::from_utf8_lossy(&file));
    }
}

/// A file that is damaged anywhere gives an error, or the rows that it now holds, and never a panic.
#[cfg(all(feature = "csv", feature = "ipc", feature = "parquet"))]
#[test]
fn damaged_files_give_errors() {
    use mlops_core::{ErrorKind, Seed};
    use rand::RngExt;

    let rows: Vec<Row> = (0..40)
        .map(|n| (Some(format!("shop {}", n % 3)), Some(n as f64), Some(n), Some(n % 2 == 0), Some(n)))
        .collect();
    let data = Dataset::new(schema(), [plain(&rows[..20]), plain(&rows[20..])]).unwrap();
    let mut files = [Vec::new(), Vec::new(), Vec::new()];
    data.write_csv(&mut files[0]).unwrap();
    data.write_parquet(&mut files[1]).unwrap();
    let encoded = with_texts(&rows, 1);
    let mut writer = arrow_ipc::writer::FileWriter::try_new(&mut files[2], &encoded.schema()).unwrap();
    writer.write(&encoded).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let mut rng = Seed::new(5).rng();
    let mut refused = [0; 3];
    for _ in 0..300 {
        for (format, file) in files.iter().enumerate() {
            let mut bytes = file.clone();
            for _ in 0..rng.random_range(1..4) {
                let place = rng.random_range(0..bytes.len());
                bytes[place] = rng.random();
            }
            if rng.random_range(0..10) == 0 {
                bytes.truncate(rng.random_range(0..bytes.len()));
            }
            let read = match format {
                0 => Dataset::from_csv(&bytes[..], schema()),
                1 => Dataset::from_parquet(bytes::Bytes::from(bytes), schema()),
                _ => Dataset::from_ipc(Cursor::new(bytes), schema()),
            };
            if let Err(error) = read {
                assert!(matches!(error.kind(), ErrorKind::Data | ErrorKind::Unsupported), "{error:?}");
                refused[format] += 1;
            }
        }
    }
    assert!(refused.iter().all(|count| *count > 30), "{refused:?}");
}

/// Narrow numbers are the numbers that they are.
#[test]
fn narrow_types_do_not_matter() {
    let schema =
        TableSchema::new([Column::new("x", ColumnKind::Float), Column::new("n", ColumnKind::Integer)])
            .unwrap();
    let batch = |x: ArrayRef, n: ArrayRef| RecordBatch::try_from_iter([("x", x), ("n", n)]).unwrap();
    let wide = batch(Arc::new(Float64Array::from(vec![1.5, -2.0])), Arc::new(Int64Array::from(vec![3, 4])));
    let narrow = batch(Arc::new(Float32Array::from(vec![1.5, -2.0])), Arc::new(Int32Array::from(vec![3, 4])));
    let of = |batch| Dataset::new(schema.clone(), [batch]).unwrap().fingerprint();
    assert_eq!(of(wide), of(narrow));
}
