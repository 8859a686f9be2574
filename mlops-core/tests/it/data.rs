use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, Date32Array, DictionaryArray, DurationMillisecondArray, Float64Array, Int32Array,
    NullArray, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray,
};
use mlops_core::data::{Column, ColumnKind, CsvFormat, Dataset, Role, Scan, Split, TableSchema};
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
    check("", ErrorKind::Data, "`time`, `bought` are missing: the data has none");
    check(
        "user,amount,time,bought\nann,1\n",
        ErrorKind::Data,
        "column `clicks` is missing: the data has user,",
    );
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

/// One column `x`, brought to a kind: its cells as text, or the message.
fn brought(kind: ColumnKind, array: ArrayRef) -> Result<Vec<String>, String> {
    let schema = TableSchema::new([Column::new("x", kind)]).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap();
    let data = Dataset::new(schema, [batch]).map_err(|error| format!("{error:#}"))?;
    let mut cells = Vec::new();
    data.for_each_row(|_, row| {
        cells.push(row[0].to_string());
        Ok(())
    })
    .unwrap();
    Ok(cells)
}

#[test]
fn each_kind_takes_what_is_its_own() {
    use ColumnKind::{Boolean, Float, Integer, Text, Timestamp};
    let floats = |cells: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(cells.to_vec())) };
    let dictionary = |places: Vec<Option<i8>>, values: ArrayRef| -> ArrayRef {
        Arc::new(DictionaryArray::<Int8Type>::try_new(places.into(), values).unwrap())
    };
    let refused = |kind, array, message: &str| {
        let error = brought(kind, array).unwrap_err();
        assert!(error.contains(message), "{error}");
    };
    refused(Timestamp, floats(&[1.0, 1.7]), "should be timestamp, its cell in row 1 is `1.7`");
    assert_eq!(brought(Timestamp, floats(&[1.0, -2.0])).unwrap(), ["1", "-2"]);

    let half = || dictionary(vec![Some(0), Some(1), None], floats(&[1.0, 1.5]));
    refused(Integer, half(), "row 1 is `1.5`");
    refused(Timestamp, half(), "row 1 is `1.5`");
    refused(Boolean, dictionary(vec![Some(1)], floats(&[1.0, 2.0])), "row 0 is `2.0`");
    assert_eq!(brought(Float, half()).unwrap(), ["1", "1.5", "missing"]);
    let unused = dictionary(vec![Some(0), Some(0)], floats(&[1.0, 1.5]));
    assert_eq!(brought(Integer, unused).unwrap(), ["1", "1"]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("3"), None]));
    for kind in [Integer, Text] {
        let cells = brought(kind, dictionary(vec![Some(0), Some(1)], Arc::clone(&texts))).unwrap();
        assert_eq!(cells[1], "missing", "a missing value of a dictionary");
    }
    for kind in [Integer, Text, Boolean, Timestamp, Float] {
        assert_eq!(brought(kind, Arc::new(NullArray::new(2))).unwrap(), ["missing", "missing"], "{kind}");
    }

    for array in [
        Arc::new(TimestampNanosecondArray::from(vec![3_000_000_000])) as ArrayRef,
        Arc::new(TimestampMillisecondArray::from(vec![3_000])),
        Arc::new(TimestampMicrosecondArray::from(vec![3_000_000]).with_timezone("+02:00")),
        Arc::new(TimestampSecondArray::from(vec![3]).with_timezone("+02:00")),
        dictionary(vec![Some(0)], Arc::new(TimestampSecondArray::from(vec![3]))),
        Arc::new(DurationMillisecondArray::from(vec![3000])),
    ] {
        for kind in [Integer, Float] {
            let found = array.data_type().clone();
            assert_eq!(brought(kind, Arc::clone(&array)).unwrap(), ["3000000"], "{found} to {kind}");
        }
    }
    let day = Arc::new(Date32Array::from(vec![1]));
    assert_eq!(brought(Integer, day.clone()).unwrap(), brought(Timestamp, day).unwrap());
}

#[test]
fn all_missing_columns_are_named_and_twins_refused() {
    let batch = |names: &[&'static str]| {
        let arrays = names.iter().map(|name| (*name, Arc::new(Int32Array::from(vec![1])) as ArrayRef));
        RecordBatch::try_from_iter(arrays).unwrap()
    };
    let message = |names: &[&'static str]| {
        let schema =
            TableSchema::new(["a", "b", "c"].map(|name| Column::new(name, ColumnKind::Integer))).unwrap();
        Dataset::new(schema, [batch(names)]).unwrap_err().to_string()
    };
    assert_eq!(message(&["b", "z"]), "columns `a`, `c` are missing: the data has b, z");
    assert_eq!(message(&["a", "b", "c", "b"]), "the data has two columns `b`: rename one");
    let schema = TableSchema::new([Column::new("a", ColumnKind::Integer)]).unwrap();
    assert!(Dataset::new(schema, [batch(&["a", "z", "z"])]).is_ok(), "nobody asks for `z`");
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
fn texts_too_long_for_one_array_are_named() {
    let schema = TableSchema::new([Column::new("page", ColumnKind::Text)]).unwrap();
    let page: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20)]));
    let data = Dataset::new(schema, [RecordBatch::try_from_iter([("page", page)]).unwrap()]).unwrap();
    let error = data.take(&[0; 2048]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("texts of column `page` are longer than 2 GiB"), "{error}");
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

#[cfg(feature = "csv")]
#[test]
fn csv_of_other_forms() {
    let schema = || {
        TableSchema::new([Column::new("n", ColumnKind::Integer), Column::new("s", ColumnKind::Text)]).unwrap()
    };
    let read = |text: &str, format: &CsvFormat| {
        let data = Dataset::from_csv_opts(text.as_bytes(), schema(), format)?;
        let mut cells = Vec::new();
        data.for_each_row(|_, row| {
            cells.extend(row.iter().map(ToString::to_string));
            Ok(())
        })?;
        Ok::<_, mlops_core::Error>(cells.join(" "))
    };
    let tabs = CsvFormat::default().delimiter('\t');
    assert_eq!(read("s\tn\na, b\t1\n\"c\td\"\t\n", &tabs).unwrap(), "1 `a, b` missing `c\td`");
    let missing = CsvFormat::default().missing(["NA", "n/a"]);
    assert_eq!(read("n,s\nNA,n/a\n1,NAN\n,\n", &missing).unwrap(), "missing missing 1 `NAN` missing missing");
    let error = read("n,s\nna,x\n", &missing).unwrap_err();
    assert!(format!("{error:#}").contains("its cell in row 0 is `na`"), "{error:#}");
    assert!(read("n;s\n1;x\n", &missing).is_err());
    for delimiter in ['"', '\n', '\r', '\0', 'é', '→'] {
        let error = read("n,s\n", &CsvFormat::default().delimiter(delimiter)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{delimiter:?}");
    }
    let read: CsvFormat = serde_json::from_str(r#"{"delimiter": ";"}"#).unwrap();
    assert_eq!(read, CsvFormat::default().delimiter(';'));
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

/// Rows `key, row` with so many rows of each of the keys 0, 1, ...; a key of `None` is missing.
fn keyed(sizes: impl IntoIterator<Item = (Option<usize>, usize)>) -> Dataset {
    let columns = [Column::new("key", ColumnKind::Integer), Column::new("row", ColumnKind::Integer)];
    let lines = sizes.into_iter().flat_map(|(key, rows)| std::iter::repeat_n(key, rows)).enumerate();
    let lines =
        lines.map(|(row, key)| format!("{},{row}\n", key.map_or(String::new(), |key| key.to_string())));
    let csv = format!("key,row\n{}", lines.collect::<String>());
    Dataset::from_csv(csv.as_bytes(), TableSchema::new(columns).unwrap()).unwrap()
}

#[test]
fn stratified_parts_have_their_size_over_many_small_strata() {
    for (rows, fractions) in
        [(1, [0.5, 0.3, 0.2]), (2, [0.7, 0.1, 0.2]), (3, [0.34, 0.33, 0.33]), (10, [0.7, 0.1, 0.2])]
    {
        let data = keyed((0..1000).map(|key| (Some(key), rows)));
        let parts = data.split(Split::Stratified("key"), fractions, Seed::new(3)).unwrap();
        for (part, fraction) in parts.iter().zip(fractions) {
            let wanted = fraction * data.rows() as f64;
            assert!((part.rows() as f64 - wanted).abs() <= 3.0, "{rows} {fraction}: {}", part.rows());
            let mut counts = [0; 1000];
            part.numbers("key").unwrap().iter().for_each(|key| counts[*key as usize] += 1);
            for count in counts {
                assert!(
                    (f64::from(count) - fraction * rows as f64).abs() < 1.0,
                    "{rows} {fraction}: {count}"
                );
            }
        }
    }
    // Chance, not the order of the values, says which class goes where.
    let data = keyed((0..10).map(|key| (Some(key), 1)));
    let mut tested = [0; 10];
    for seed in 0..1000 {
        let [_, test] = data.split(Split::Stratified("key"), [0.8, 0.2], Seed::new(seed)).unwrap();
        test.numbers("key").unwrap().iter().for_each(|key| tested[*key as usize] += 1);
    }
    // Each is binomial (1000, 1/5), standard deviation 13: five of them.
    assert!(tested.iter().all(|count| (135..=265).contains(count)), "{tested:?}");
}

#[test]
fn rows_without_a_group_are_no_group() {
    let data = keyed([(None, 1000), (Some(1), 500), (Some(2), 500)]);
    let parts = data.split(Split::Group("key"), [0.5, 0.5], Seed::new(3)).unwrap();
    for part in &parts {
        let keys = part.numbers("key").unwrap();
        let missing = keys.iter().filter(|key| key.is_nan()).count();
        assert!((400..=600).contains(&missing), "{missing}");
        for key in [1.0, 2.0] {
            let rows = keys.iter().filter(|found| **found == key).count();
            assert!(rows == 0 || rows == 500, "{rows} rows of {key}");
        }
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

#[test]
fn a_gap_keeps_labels_that_look_ahead_out_of_training() {
    let schema = TableSchema::new([Column::new("t", ColumnKind::Integer)]).unwrap();
    let data = Dataset::from_csv("t\n60\n10\n20\n30\n50\n40\n".as_bytes(), schema).unwrap();
    let gap = |micros| Split::TimeWithGap("t", Duration::from_micros(micros));
    let cut = |micros| {
        let [train, test] = data.split(gap(micros), [0.5, 0.5], Seed::new(0)).unwrap();
        assert_eq!(test.numbers("t").unwrap(), [60.0, 50.0, 40.0]);
        train.numbers("t").unwrap()
    };
    assert_eq!(cut(10), [10.0, 20.0, 30.0], "a label that looks 10 ahead of 30 is known at 40");
    assert_eq!(cut(11), [10.0, 20.0]);
    assert_eq!(cut(1000), [] as [f64; 0]);
    // A long gap reaches over a whole part.
    let [a, b, c] = data.split(gap(21), [0.34, 0.33, 0.33], Seed::new(0)).unwrap();
    assert_eq!([a, b, c].map(|part| part.rows()), [1, 0, 1]);
}

#[test]
fn each_row_is_tested_once() {
    let data = keyed((0..30).map(|key| (Some(key % 7), 3)));
    for by in [Split::Random, Split::Stratified("key"), Split::Group("key")] {
        let folds: Vec<_> = data.folds(by, 3, Seed::new(11)).unwrap().map(|fold| fold.unwrap()).collect();
        let mut tested = Vec::new();
        for (train, test) in &folds {
            assert_eq!(train.rows() + test.rows(), 90);
            let test = test.numbers("row").unwrap();
            assert!(train.numbers("row").unwrap().iter().all(|row| !test.contains(row)), "{by:?}");
            tested.extend(test);
        }
        tested.sort_by(f64::total_cmp);
        assert!(tested.into_iter().eq((0..90).map(f64::from)), "{by:?}");
        let again: Vec<_> = data.folds(by, 3, Seed::new(11)).unwrap().map(|fold| fold.unwrap()).collect();
        assert_eq!(again, folds);
    }
    let sizes = data.folds(Split::Random, 4, Seed::new(1)).unwrap().map(|fold| fold.unwrap().1.rows());
    assert!(sizes.eq([23, 23, 22, 22]));
    for fold in data.folds(Split::Group("key"), 3, Seed::new(11)).unwrap() {
        let (train, test) = fold.unwrap();
        let train = train.numbers("key").unwrap();
        assert!(test.numbers("key").unwrap().iter().all(|key| !train.contains(key)));
    }
}

#[test]
fn folds_by_time_test_on_what_comes_after() {
    let data = keyed([(Some(1), 12)]);
    let tested = |by| -> Vec<(usize, Vec<f64>)> {
        let folds = data.folds(by, 3, Seed::new(0)).unwrap().map(|fold| fold.unwrap());
        folds.map(|(train, test)| (train.rows(), test.numbers("row").unwrap())).collect()
    };
    let tests = || [vec![3.0, 4.0, 5.0], vec![6.0, 7.0, 8.0], vec![9.0, 10.0, 11.0]];
    assert!(tested(Split::Time("row")).into_iter().eq([3, 6, 9].into_iter().zip(tests())));
    let one_row_each = keyed([(Some(1), 10)]);
    let folds = one_row_each.folds(Split::Time("row"), 9, Seed::new(0)).unwrap().map(|fold| fold.unwrap());
    assert!(folds.map(|(train, test)| (train.rows(), test.rows())).eq((1..10).map(|rows| (rows, 1))));
    let gap = Split::TimeWithGap("row", Duration::from_micros(3));
    assert!(tested(gap).into_iter().eq([1, 4, 7].into_iter().zip(tests())));
}

#[test]
fn folds_that_have_nothing_to_learn_from_are_refused() {
    let data = keyed([(Some(1), 5)]);
    let kind = |by, folds| data.folds(by, folds, Seed::new(0)).err().map(|error| error.kind());
    assert_eq!(kind(Split::Random, 1), Some(ErrorKind::Invalid));
    assert_eq!(kind(Split::Time("row"), 0), Some(ErrorKind::Invalid));
    assert_eq!(kind(Split::Time("row"), 1), None);
    assert_eq!(kind(Split::Random, 6), Some(ErrorKind::Data));
    assert_eq!(kind(Split::Random, usize::MAX), Some(ErrorKind::Data));
    assert_eq!(kind(Split::Group("key"), 2), Some(ErrorKind::Data), "one group cannot be cut");
    assert_eq!(kind(Split::Time("key"), 2), Some(ErrorKind::Data), "one time cannot be cut");
    assert_eq!(kind(Split::TimeWithGap("row", Duration::from_secs(1)), 2), Some(ErrorKind::Data));
    assert_eq!(kind(Split::Group("none"), 2), Some(ErrorKind::NotFound));
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
