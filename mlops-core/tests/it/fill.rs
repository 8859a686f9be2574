//! Columns from the names of folders, and values for missing cells.

use std::fs;
use std::path::Path;

use mlops_core::ErrorKind;
use mlops_core::data::{Column, ColumnKind, Dataset, Role, Scan, TableSchema, Validator, Value};
use proptest::prelude::*;

fn schema() -> TableSchema {
    TableSchema::new([
        Column::new("x", ColumnKind::Float).range(0.0, 9.0),
        Column::new("n", ColumnKind::Integer),
        Column::new("yes", ColumnKind::Boolean).role(Role::Label),
        Column::new("word", ColumnKind::Text).categories(["a", "none"]),
        Column::new("time", ColumnKind::Timestamp),
    ])
    .unwrap()
}

fn data() -> Dataset {
    let csv = "x,n,yes,word,time\n1.5,,true,a,\n,7,,,2026-01-01T00:00:00Z\nNaN,,false,,\n";
    Dataset::from_csv(csv.as_bytes(), schema()).unwrap()
}

fn cells(data: &Dataset, column: usize) -> Vec<String> {
    let mut cells = Vec::new();
    data.for_each_row(|_, row| {
        cells.push(row[column].to_string());
        Ok(())
    })
    .unwrap();
    cells
}

#[test]
fn missing_cells_of_each_kind_are_filled_and_others_kept() {
    let cases = [
        (Value::Float(2.5), "x", ["1.5", "2.5", "NaN"]),
        (Value::Integer(3), "x", ["1.5", "3", "NaN"]),
        (Value::Integer(-1), "n", ["-1", "7", "-1"]),
        (Value::Boolean(false), "yes", ["true", "false", "false"]),
        (Value::Text("none"), "word", ["`a`", "`none`", "`none`"]),
        (Value::Integer(5), "time", ["5", "1767225600000000", "5"]),
    ];
    for (value, column, want) in cases {
        let filled = data().fill_null(column, value).unwrap();
        let place = filled.schema().index_of(column).unwrap();
        assert_eq!(cells(&filled, place), want);
        let mut columns = schema().columns().to_vec();
        columns[place].nullable = false;
        assert_eq!(filled.schema().columns(), columns, "the column alone is required now");
        assert!(filled.validate().unwrap().violations.iter().all(|found| found.columns[0] == "x"));
    }
    let empty = Dataset::new(schema(), []).unwrap();
    assert_eq!(empty.fill_null("x", 1.0).unwrap().rows(), 0);
}

#[test]
fn values_that_are_none_of_the_column_are_refused() {
    let cases = [
        ("x", Value::Missing, "missing cells of `x` cannot be missing: give a value"),
        ("x", Value::Text("a"), "missing cells of `x` cannot be `a`: it is float"),
        ("x", Value::Float(9.5), "missing cells of `x` cannot be 9.5: its range is 0..=9"),
        ("x", Value::Float(f64::NAN), "missing cells of `x` cannot be NaN: its range is 0..=9"),
        ("n", Value::Float(1.0), "missing cells of `n` cannot be 1: it is integer"),
        ("yes", Value::Integer(0), "missing cells of `yes` cannot be 0: it is boolean"),
        ("word", Value::Text("b"), "missing cells of `word` cannot be `b`: its categories are a, none"),
        ("time", Value::Boolean(true), "missing cells of `time` cannot be true: it is timestamp"),
    ];
    for (column, value, says) in cases {
        let error = data().fill_null(column, value).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, says));
    }
    let schema =
        TableSchema::new([Column::new("x", ColumnKind::Float), Column::new("n", ColumnKind::Integer)]);
    let wide = Dataset::from_csv("x,n\n,1\n".as_bytes(), schema.unwrap()).unwrap();
    assert_eq!(wide.fill_null("x", 1_i64 << 53).unwrap().numbers("x").unwrap(), [9_007_199_254_740_992.0]);
    for number in [9_007_199_254_740_993, -9_007_199_254_740_993, i64::MAX] {
        let error = wide.fill_null("x", number).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.to_string().starts_with(&format!("missing cells of `x` cannot be {number}")),
            "{error}"
        );
    }
    assert_eq!(data().fill_null("nobody", 1.0).unwrap_err().kind(), ErrorKind::NotFound);
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn parted() -> TableSchema {
    TableSchema::new([
        Column::new("year", ColumnKind::Integer),
        Column::new("x", ColumnKind::Float),
        Column::new("city", ColumnKind::Text),
    ])
    .unwrap()
}

#[test]
fn folders_name_columns() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "year=2025/city=S%C3%A3o Paulo/a.csv", "x\n1\n2\n");
    // A column of the file makes way, also one that the folder says nothing about is passed over.
    write(
        folder.path(),
        "year=2026/other=1/city=__HIVE_DEFAULT_PARTITION__/b.csv",
        "city,x,year\nnowhere,3,99\n",
    );
    write(folder.path(), "year=2027/city=a/city=b/c.csv", "x\n4\n");
    let data = Dataset::open(folder.path(), parted()).unwrap();
    assert_eq!(cells(&data, 0), ["2025", "2025", "2026", "2027"]);
    assert_eq!(cells(&data, 1), ["1", "2", "3", "4"]);
    assert_eq!(cells(&data, 2), ["`S\u{e3}o Paulo`", "`S\u{e3}o Paulo`", "missing", "`b`"]);
    // What is opened names none itself, so the same rows are read by whatever path.
    for opened in ["year=2027", "year=2027/city=a/city=b/c.csv"] {
        let error = Dataset::open(folder.path().join(opened), parted()).unwrap_err();
        assert!(format!("{error:#}").contains("`year`"), "{error:#}");
    }
    let own = "year=2026/other=1/city=__HIVE_DEFAULT_PARTITION__/b.csv";
    let file = Dataset::open(folder.path().join(own), parted()).unwrap();
    assert_eq!([cells(&file, 0), cells(&file, 2)], [["99"], ["`nowhere`"]]);
    // Who does not ask for them does not get them.
    let alone = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
    assert_eq!(Dataset::open(folder.path(), alone).unwrap().rows(), 4);
}

#[test]
fn folders_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "year=MMXXV/city=a/a.csv", "x\n1\n");
    let error = Dataset::open(folder.path(), parted()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    let text = format!("{error:#}");
    assert!(text.contains("column `year` should be integer, its cell in row 0 is `MMXXV`"), "{text}");
    assert!(text.contains("a.csv") && text.matches("cannot read the table").count() == 1, "{text}");
    let year = TableSchema::new([Column::new("year", ColumnKind::Integer)]).unwrap();
    let error = Dataset::open(folder.path(), year).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:#}");
    write(folder.path(), "year=2026/a.csv", "x\n1\n");
    fs::remove_dir_all(folder.path().join("year=MMXXV")).unwrap();
    let error = Dataset::open(folder.path(), parted()).unwrap_err();
    assert!(format!("{error:#}").contains("column `city` is missing: the data has x"), "{error:#}");
    // A validator counts what a data set refuses.
    write(folder.path(), "year=2026/a.csv", "x,city\n1,a\n?,b\n");
    write(folder.path(), "year=x/b.csv", "x,city\n1,a\n");
    let mut validator = Validator::new(parted());
    validator.update_from(Scan::open(folder.path(), parted()).unwrap()).unwrap();
    let found: Vec<_> = validator.report().violations.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "column `year` is of another kind in 1 row, first in row 2: `x`",
            "column `x` is of another kind in 1 row, first in row 1: `?`",
        ]
    );
}

/// The same, where the files are objects.
#[cfg(feature = "object-store")]
#[test]
fn folders_of_object_stores_name_columns_too() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "year=2025/city=a b/a.csv", "x\n1\n");
    write(folder.path(), "year=2026/city=__HIVE_DEFAULT_PARTITION__/b.csv", "x\n2\n");
    let url = format!("file://{}/", folder.path().display());
    let data = Dataset::open_url(&url, parted()).unwrap();
    assert_eq!(data.fingerprint(), Dataset::open(folder.path(), parted()).unwrap().fingerprint());
    assert_eq!(cells(&data, 2), ["`a b`", "missing"]);
    // What the URL names is no column.
    let error = Dataset::open_url(&format!("{url}year=2025/"), parted()).unwrap_err();
    assert!(format!("{error:#}").contains("`year` is missing"), "{error:#}");
}

#[test]
fn rules_of_the_host_are_counted_and_merge() {
    let ordered = |cells: &[Value<'_>]| cells[0].as_f64() <= cells[1].as_f64();
    let empty = || Validator::new(schema()).rule("ordered", ["x", "n"], ordered).unwrap();
    let csv =
        |rows: &str| Scan::csv(std::io::Cursor::new(format!("x,n,yes,word,time\n{rows}")), schema()).unwrap();
    let (mut first, mut next) = (empty(), empty());
    first.update_from(csv("1,2,,,\n3,3,,,\n")).unwrap();
    next.update_from(csv("1,1,,,\n5,4,,,\n6,,,,\nlots,3,,,\n")).unwrap();
    first.merge(next).unwrap();
    let report = first.report();
    let broken: Vec<_> = report.violations.iter().map(ToString::to_string).collect();
    let says = "the row of `x`, `n` breaks the rule `ordered` in 2 rows, first in row 3: 5, 4";
    assert_eq!(broken[1..], [says], "a cell of another kind is missing to the rule, {broken:?}");
    let json = serde_json::to_string(&report.violations[1].promise).unwrap();
    assert_eq!(json, "{\"rule\":\"ordered\"}");

    for other in [
        Validator::new(schema()),
        Validator::new(schema()).rule("ordered", ["n", "x"], ordered).unwrap(),
        Validator::new(schema()).rule("other", ["x", "n"], ordered).unwrap(),
    ] {
        assert_eq!(empty().merge(other).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(empty().rule("ordered", ["x"], |_| true).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(empty().rule("nothing", [""; 0], |_| true).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(empty().rule("nobody", ["nobody"], |_| true).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(format!("{:?}", empty()).contains("ordered"));
}

proptest! {
    #[test]
    fn filling_changes_missing_cells_alone(
        cells in prop::collection::vec(prop::option::of(-1e6..1e6_f64), 0..30),
        value in -1e6..1e6_f64,
        cut in any::<prop::sample::Index>(),
    ) {
        let schema = TableSchema::new([Column::new("x", ColumnKind::Float)]).unwrap();
        let array = arrow_array::Float64Array::from(cells.clone());
        let batch = arrow_array::RecordBatch::try_from_iter([("x", std::sync::Arc::new(array) as _)]).unwrap();
        let cut = cut.index(cells.len() + 1);
        let pieces = [batch.slice(0, cut), batch.slice(cut, cells.len() - cut)];
        let filled = Dataset::new(schema, pieces).unwrap().fill_null("x", value).unwrap();
        let want: Vec<f64> = cells.iter().map(|cell| cell.unwrap_or(value)).collect();
        prop_assert_eq!(filled.numbers("x").unwrap(), want);
        prop_assert_eq!(filled.fill_null("x", value + 1.0).unwrap().fingerprint(), filled.fingerprint());
    }
}
