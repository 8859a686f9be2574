use std::io::Write;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use mlops_core::data::{Column, ColumnKind, Dataset, Role, Rule, Scan, Split, TableSchema};
use mlops_core::{ErrorKind, Seed};
use proptest::prelude::*;

fn schema() -> TableSchema {
    TableSchema::new([
        Column::new("user", ColumnKind::Text),
        Column::new("amount", ColumnKind::Float).range(0.0, 100.0),
        Column::new("clicks", ColumnKind::Integer),
        Column::new("time", ColumnKind::Timestamp).role(Role::Time),
        Column::new("bought", ColumnKind::Boolean).role(Role::Label).required(),
    ])
    .unwrap()
}

const CSV: &str = "\u{feff}clicks,unused,user,amount,time,bought\r\n\
                   1,x,ann,2.5,2026-01-01T00:00:00Z,TRUE\r\n\
                   ,y,\"bob, jr\",,2026-01-02T00:00:00Z,false\r\n\
                   3,z,ann,7,2026-01-03T00:00:00Z,0\r\n";

fn data() -> Dataset {
    Dataset::from_csv(CSV.as_bytes(), schema()).unwrap()
}

#[test]
fn csv_columns_are_found_by_name_and_cast() {
    let data = data();
    assert_eq!(data.rows(), 3);
    assert_eq!(data.numbers("bought").unwrap(), [1.0, 0.0, 0.0]);
    assert!(data.numbers("amount").unwrap()[1].is_nan());
    assert_eq!(data.numbers("time").unwrap()[0], 1_767_225_600_000_000.0);
    assert!(data.numbers("user").unwrap_err().to_string().contains("`user` holds text"));
    let users = data.column("user").unwrap();
    assert_eq!(users.as_any().downcast_ref::<StringArray>().unwrap().value(1), "bob, jr");
}

#[test]
fn bad_tables_are_named_by_column_row_and_value() {
    let check = |csv: &str, kind: ErrorKind, message: &str| {
        let error = Dataset::from_csv(csv.as_bytes(), schema()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(format!("{error:#}").contains(message), "{error:#}");
    };
    let header = "user,amount,clicks,time,bought\n";
    check("", ErrorKind::Data, "column `user` is missing");
    check("user,amount\nann,1\n", ErrorKind::Data, "column `clicks` is missing: the data has user, amount");
    check(&format!("{header}ann,1,1,,1\nann,lots,1,,1\n"), ErrorKind::Data, "its cell in row 1 is `lots`");
    check(&format!("{header}ann,1,1.5,,1\n"), ErrorKind::Data, "column `clicks` should be integer");
    check(&format!("{header}ann,1,1,,\n"), ErrorKind::Data, "column `bought` is required, its cell in row 0");
    check(&format!("{header}ann,1,1,,maybe\n"), ErrorKind::Data, "its cell in row 0 is `maybe`");
    check(&format!("{header}ann,1\n"), ErrorKind::Data, "not as many cells as the header");
    check(&format!("{header}\"ann,1,1,,1\n"), ErrorKind::Data, "not as many cells as the header");
    check(&format!("user,{header}"), ErrorKind::Data, "the header names column `user` twice");
}

#[test]
fn casts_that_would_change_a_number_are_refused() {
    let schema = TableSchema::new([Column::new("n", ColumnKind::Integer)]).unwrap();
    let batch = |array: ArrayRef| RecordBatch::try_from_iter([("n", array)]).unwrap();
    let good = Dataset::new(schema.clone(), [batch(Arc::new(Int32Array::from(vec![1, 2])))]).unwrap();
    assert_eq!(good.numbers("n").unwrap(), [1.0, 2.0]);
    let fraction = Dataset::new(schema.clone(), [batch(Arc::new(Float64Array::from(vec![1.0, 1.5])))]);
    assert!(fraction.unwrap_err().to_string().contains("row 1 is `1.5`"));
    let truth = TableSchema::new([Column::new("n", ColumnKind::Boolean)]).unwrap();
    let two = Dataset::new(truth, [batch(Arc::new(Int32Array::from(vec![0, 1, 2])))]);
    assert!(two.unwrap_err().to_string().contains("row 2 is `2`"));
}

/// What other tools write: categories of numbers, columns without any value, times in other units.
#[test]
fn encodings_of_other_tools_are_read_as_what_they_mean() {
    use arrow_array::{
        DictionaryArray, Int8Array, Int64Array, NullArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    };
    let read = |kind, array: ArrayRef| {
        let schema = TableSchema::new([Column::new("x", kind)]).unwrap();
        Dataset::new(schema, [RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap()])
    };
    let coded = |values: ArrayRef| -> ArrayRef {
        let keys = Int8Array::from(vec![Some(0), Some(1), None, Some(0)]);
        Arc::new(DictionaryArray::try_new(keys, values).unwrap())
    };
    let floats = coded(Arc::new(Float64Array::from(vec![Some(2.0), Some(1.5)])));
    let error = read(ColumnKind::Integer, floats.clone()).unwrap_err();
    assert!(error.to_string().contains("row 1 is `1.5`"), "{error}");
    assert!(read(ColumnKind::Boolean, floats.clone()).is_err());
    assert_eq!(read(ColumnKind::Float, floats).unwrap().numbers("x").unwrap()[..2], [2.0, 1.5]);
    let with_null = coded(Arc::new(Int64Array::from(vec![None, Some(4)])));
    let numbers = read(ColumnKind::Integer, with_null).unwrap().numbers("x").unwrap();
    assert!(numbers[0].is_nan() && numbers[1] == 4.0 && numbers[2].is_nan());
    for kind in [ColumnKind::Float, ColumnKind::Text, ColumnKind::Timestamp] {
        let data = read(kind, Arc::new(NullArray::new(3))).unwrap();
        assert_eq!(data.column("x").unwrap().null_count(), 3);
    }
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_000_000_000]));
    let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_000]));
    for times in [nanos, millis] {
        for kind in [ColumnKind::Integer, ColumnKind::Timestamp] {
            assert_eq!(read(kind, times.clone()).unwrap().numbers("x").unwrap(), [1.7e15]);
        }
    }
    let error = read(ColumnKind::Timestamp, Arc::new(Float64Array::from(vec![1.7]))).unwrap_err();
    assert!(error.to_string().contains("row 0 is `1.7`"), "{error}");

    let two = |name| arrow_schema::Field::new(name, arrow_schema::DataType::Int64, true);
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let twice = arrow_schema::Schema::new(vec![two("x"), two("x")]);
    let twice = RecordBatch::try_new(Arc::new(twice), vec![one.clone(), one]).unwrap();
    let schema = TableSchema::new([Column::new("x", ColumnKind::Integer)]).unwrap();
    let error = Dataset::new(schema, [twice]).unwrap_err();
    assert!(error.to_string().contains("two columns `x`"), "{error}");
}

#[test]
fn limits_that_do_not_fit_the_kind_are_refused() {
    for column in [
        Column::new("x", ColumnKind::Text).range(0.0, 1.0),
        Column::new("x", ColumnKind::Float).categories(["a"]),
        Column::new("x", ColumnKind::Boolean).categories(["true"]),
    ] {
        assert_eq!(TableSchema::new([column]).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn many_small_classes_reach_every_part() {
    let schema = || TableSchema::new([Column::new("class", ColumnKind::Integer)]).unwrap();
    for (classes, each) in [(1000, 2), (2000, 1)] {
        let rows = (0..classes * each).map(|row| format!("{}\n", row % classes));
        let data =
            Dataset::from_csv(format!("class\n{}", rows.collect::<String>()).as_bytes(), schema()).unwrap();
        let parts = data.split(Split::Stratified("class"), [0.5, 0.3, 0.2], Seed::new(3)).unwrap();
        for (part, share) in parts.iter().zip([0.5, 0.3, 0.2]) {
            let off = part.rows() as f64 - share * 2000.0;
            // Five standard deviations of 2000 independent rows, more than there is.
            assert!(off.abs() < 112.0, "{}: {off}", part.rows());
        }
    }
}

#[test]
fn a_scan_counts_rows_over_its_batches() {
    let mut csv = String::from("n\n");
    (0..20_000).for_each(|n| csv += &format!("{n}\n"));
    csv += "oops\n";
    let schema = TableSchema::new([Column::new("n", ColumnKind::Integer)]).unwrap();
    let scan = Scan::csv(std::io::Cursor::new(csv), schema).unwrap();
    let results: Vec<_> = scan.collect::<Vec<_>>();
    assert_eq!(results.len(), 3);
    assert!(results[2].as_ref().unwrap_err().to_string().contains("row 20000 is `oops`"));
}

#[test]
fn filters_projections_and_parts_keep_their_rows() {
    let data = data();
    let anns = data.filter(|row| row[0] == "ann".into()).unwrap();
    assert_eq!(anns.numbers("clicks").unwrap(), [1.0, 3.0]);
    let narrow = data.project(&["bought", "clicks"]).unwrap();
    assert_eq!(narrow.schema().columns().len(), 2);
    assert_eq!(data.clone().concat(data.clone()).unwrap().rows(), 6);
    assert!(data.clone().concat(narrow).is_err());
    assert!(data.take(&[3]).unwrap_err().to_string().contains("row 3 is asked for, there are 3 rows"));
    let empty = data.take(&[]).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.column("user").unwrap().len(), 0);
}

#[cfg(all(feature = "parquet", feature = "ipc"))]
#[test]
fn files_of_all_formats_hold_the_same_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = data();
    let path = |name: &str| folder.path().join(name);
    data.write_csv(std::fs::File::create(path("csv")).unwrap()).unwrap();
    data.write_parquet(std::fs::File::create(path("parquet")).unwrap()).unwrap();
    data.write_ipc(std::fs::File::create(path("ipc")).unwrap()).unwrap();
    for name in ["csv", "parquet", "ipc"] {
        let read = Dataset::open(path(name), schema()).unwrap();
        assert_eq!(read.fingerprint(), data.fingerprint(), "{name}");
        let bytes = std::fs::read(path(name)).unwrap();
        for cut in [bytes.len() / 2, bytes.len() - 1, 7] {
            std::fs::write(path("cut"), &bytes[..cut]).unwrap();
            if let Err(error) = Dataset::open(path("cut"), schema()) {
                assert_eq!(error.kind(), ErrorKind::Data, "{name} cut at {cut}: {error:?}");
            } else {
                assert_eq!(name, "csv", "only CSV can be cut unnoticed");
            }
        }
    }
}

#[test]
fn unreadable_files_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let error = Dataset::open(folder.path().join("none.csv"), schema()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = Dataset::open(folder.path(), schema()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "an empty folder");
    let error = Dataset::open("s3://bucket/a.csv", schema()).unwrap_err();
    assert!(error.to_string().contains("`open_url`"), "{error}");
    let empty = folder.path().join("empty.csv");
    std::fs::File::create(&empty).unwrap().write_all(b"").unwrap();
    let error = Dataset::open(&empty, schema()).unwrap_err();
    assert!(format!("{error:#}").contains("the file is empty"), "{error:#}");
}

#[test]
fn a_folder_is_the_rows_of_its_files_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("part-1.csv", "n\n2\n");
    put("b/part-0.csv", "n,more\n0,x\n1,y\n");
    put("part-2.csv", "n\n");
    put("part-3.csv", "n\n3\n");
    put("_SUCCESS", "");
    put(".hidden/x.csv", "nothing\n");
    let schema = TableSchema::new([Column::new("n", ColumnKind::Integer)]).unwrap();
    let data = Dataset::open(folder.path(), schema.clone()).unwrap();
    assert_eq!(data.numbers("n").unwrap(), [0.0, 1.0, 2.0, 3.0]);
    put("part-4.csv", "n\n4\nfive\n");
    let scan = Scan::open(folder.path(), schema.clone()).unwrap();
    let error = scan.last().unwrap().unwrap_err();
    assert!(
        format!("{error:#}").contains("part-4.csv`: column `n` should be integer, its cell in row 1"),
        "{error:#}"
    );
    put("part-2.csv", "m\n");
    let results: Vec<_> = Scan::open(folder.path(), schema).unwrap().collect();
    assert!(
        format!("{:#}", results.last().unwrap().as_ref().unwrap_err()).contains("part-2.csv`: column `n`")
    );
}

/// A reader that fails after some bytes, as a disk or a connection does.
#[cfg(feature = "csv")]
#[test]
fn a_reader_that_fails_is_no_damaged_table() {
    struct Broken(&'static [u8]);
    impl std::io::Read for Broken {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            }
            self.0.read(out)
        }
    }
    let schema = TableSchema::new([Column::new("n", ColumnKind::Integer)]).unwrap();
    let error = Scan::csv(Broken(b"n\n1\n2"), schema.clone()).unwrap().last().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(
        Dataset::from_csv(Broken(b"n\n1\n2"), schema.clone()).unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    let error = Dataset::from_csv(&b"n\n1\xff\n"[..], schema).unwrap_err();
    assert!(format!("{error:#}").contains("no UTF-8"), "{error:#}");
}

#[test]
fn validation_names_the_first_offender_and_counts_the_rest() {
    let schema = TableSchema::new([
        Column::new("id", ColumnKind::Integer).role(Role::Id),
        Column::new("rate", ColumnKind::Float).range(0.0, 1.0),
        Column::new("kind", ColumnKind::Text).categories(["a", "b"]),
    ])
    .unwrap();
    let csv = "id,rate,kind\n1,0.5,a\n2,NaN,c\n2,-1,b\n4,2,\n";
    let report = Dataset::from_csv(csv.as_bytes(), schema).unwrap().validate().unwrap();
    let found: Vec<_> = report.violations.iter().map(|v| (v.rule, v.count, v.first_row)).collect();
    assert_eq!(
        found,
        [(Rule::Unique, 1, 2), (Rule::Finite, 1, 1), (Rule::Range, 2, 2), (Rule::Category, 1, 1)]
    );
    assert_eq!(report.missing[2], ("kind".to_owned(), 0.25));
    assert_eq!(report.into_result().unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn schemas_survive_json_with_open_ranges() {
    let schema = TableSchema::new([
        Column::new("a", ColumnKind::Float).range(0.0, f64::INFINITY),
        Column::new("b", ColumnKind::Float).range(f64::NEG_INFINITY, 1.5),
        Column::new("c", ColumnKind::Float),
    ])
    .unwrap();
    let json = serde_json::to_string(&schema).unwrap();
    assert_eq!(serde_json::from_str::<TableSchema>(&json).unwrap(), schema, "{json}");
}

#[test]
fn splits_refuse_bad_fractions() {
    for fractions in [[0.5, 0.6], [1.0, 0.0], [f64::NAN, 0.5], [-0.5, 1.5]] {
        let error = data().split(Split::Random, fractions, Seed::new(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{fractions:?}");
    }
}

#[test]
fn time_splits_keep_equal_times_together() {
    let schema = TableSchema::new([Column::new("t", ColumnKind::Integer)]).unwrap();
    let data = Dataset::from_csv("t\n3\n1\n2\n2\n2\n9\n".as_bytes(), schema).unwrap();
    let [old, new] = data.split(Split::Time("t"), [0.5, 0.5], Seed::new(0)).unwrap();
    assert_eq!(old.numbers("t").unwrap(), [1.0, 2.0, 2.0, 2.0]);
    assert_eq!(new.numbers("t").unwrap(), [3.0, 9.0]);
}

fn numbers(values: &[f64]) -> Dataset {
    let schema = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    Dataset::new(schema, [RecordBatch::try_from_iter([("x", array)]).unwrap()]).unwrap()
}

proptest! {
    #[test]
    fn fingerprints_see_rows_and_not_batches(values in prop::collection::vec(any::<f64>(), 1..50), cut in 0usize..50) {
        let cut = cut.min(values.len());
        let whole = numbers(&values);
        let pieces = numbers(&values[..cut]).concat(numbers(&values[cut..])).unwrap();
        prop_assert_eq!(whole.fingerprint(), pieces.fingerprint());
        let mut changed = values.clone();
        changed[0] = if changed[0] == 1.0 { 2.0 } else { 1.0 };
        prop_assert_ne!(whole.fingerprint(), numbers(&changed).fingerprint());
    }

    #[test]
    fn splits_deal_every_row_once_and_replay(n in 0usize..200, seed in any::<u64>()) {
        let values: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let data = numbers(&values);
        for by in [Split::Random, Split::Group("x"), Split::Time("x"), Split::Stratified("x")] {
            let parts: [Dataset; 3] = data.split(by, [0.5, 0.3, 0.2], Seed::new(seed)).unwrap();
            let mut rows: Vec<f64> = parts.iter().flat_map(|part| part.numbers("x").unwrap()).collect();
            rows.sort_by(f64::total_cmp);
            prop_assert_eq!(&rows, &values);
            prop_assert_eq!(parts, data.split(by, [0.5, 0.3, 0.2], Seed::new(seed)).unwrap());
        }
    }

    #[test]
    fn any_bytes_read_as_csv_give_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Dataset::from_csv(&bytes[..], schema());
    }
}
