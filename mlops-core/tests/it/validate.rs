//! Validation: every fault is counted, in any sharding alike.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use mlops_core::ErrorKind;
use mlops_core::data::{
    Column, ColumnKind, Dataset, Promise, Role, Scan, TableSchema, ValidationReport, Validator,
};
use proptest::prelude::*;

fn schema() -> TableSchema {
    TableSchema::new([
        Column::new("id", ColumnKind::Integer).role(Role::Id).required(),
        Column::new("rate", ColumnKind::Float).range(0.0, 1.0),
        Column::new("kind", ColumnKind::Text).categories(["a", "b"]),
    ])
    .unwrap()
}

/// Columns, promise, count, first row and example of each violation.
fn found(report: &ValidationReport) -> Vec<(String, Promise, usize, usize, &str)> {
    let violations = report.violations.iter();
    violations
        .map(|v| (v.columns.join("+"), v.promise.clone(), v.count, v.first_row, v.example.as_str()))
        .collect()
}

fn csv(text: &str) -> Scan {
    Scan::csv(std::io::Cursor::new(text.to_owned()), schema()).unwrap()
}

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    let columns = columns.iter().map(|(name, array)| (*name, Arc::clone(array), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

#[test]
fn the_first_offender_is_named_and_the_rest_counted() {
    let text = "id,rate,kind\n1,0.5,a\n2,NaN,c\n2,-1,b\n4,2,\n";
    let report = Dataset::from_csv(text.as_bytes(), schema()).unwrap().validate().unwrap();
    let expected = [
        ("rate".to_owned(), Promise::Finite, 1, 1, "NaN"),
        ("rate".to_owned(), Promise::Range, 2, 2, "-1"),
        ("kind".to_owned(), Promise::Category, 1, 1, "`c`"),
        ("id".to_owned(), Promise::Unique, 1, 2, "2"),
    ];
    assert_eq!(found(&report), expected);
    assert_eq!(report.missing[2], ("kind".to_owned(), 0.25));
    assert_eq!(report.into_result().unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn what_is_no_data_set_is_reported_whole() {
    let mut validator = Validator::new(schema());
    validator.update_from(csv("id,rate,kind\nx,lots,a\n,0.5,a\n7,much,z\n1.5,,a\n7,2,\n")).unwrap();
    let report = validator.report();
    let expected = [
        ("id".to_owned(), Promise::Kind, 2, 0, "`x`"),
        ("id".to_owned(), Promise::Required, 1, 1, "missing"),
        ("rate".to_owned(), Promise::Kind, 2, 0, "`lots`"),
        ("rate".to_owned(), Promise::Range, 1, 4, "2"),
        ("kind".to_owned(), Promise::Category, 1, 2, "`z`"),
        ("id".to_owned(), Promise::Unique, 1, 4, "7"),
    ];
    assert_eq!(found(&report), expected);
    assert_eq!(report.missing.iter().map(|(_, share)| *share).collect::<Vec<_>>(), [0.2; 3]);
    let text = report.into_result().unwrap_err().to_string();
    assert!(text.contains("column `id` is of another kind in 2 rows, first in row 0: `x`"), "{text}");
}

#[test]
fn missing_columns_and_types_without_cells_are_counted() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let lists =
        ListArray::from_iter_primitive::<arrow_array::types::Int64Type, _, _>([Some([Some(1)]), None]);
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 2.5]));
    let mut validator = Validator::new(schema());
    validator
        .update(&batch(&[("id", Arc::clone(&ids)), ("rate", Arc::new(lists)), ("other", Arc::clone(&ids))]))
        .unwrap();
    validator
        .update(&batch(&[("id", numbers), ("kind", Arc::new(StringArray::from(vec!["a", "b"])))]))
        .unwrap();
    let report = validator.report();
    let expected = [
        ("id".to_owned(), Promise::Kind, 2, 2, "`NaN`"),
        ("rate".to_owned(), Promise::Present, 2, 2, "the data has id, kind"),
        ("rate".to_owned(), Promise::Kind, 1, 0, "`[1]`"),
        ("kind".to_owned(), Promise::Present, 2, 0, "the data has id, rate, other"),
    ];
    assert_eq!(found(&report), expected);
    assert_eq!(report.missing[1].1, 0.75);
    let twice = RecordBatch::try_from_iter([("id", Arc::clone(&ids)), ("id", ids)]).unwrap();
    assert!(validator.update(&twice).unwrap_err().to_string().contains("two columns `id`"));
}

#[test]
fn rules_beyond_the_schema() {
    let text = "id,rate,kind\n1,inf,a\n2,NaN,a\n3,,b\n4,0.5,a\n5,0.5,\n6,0.5,\n";
    let check = |validator: Validator| {
        let mut validator = validator;
        validator.update_from(csv(text)).unwrap();
        validator.report()
    };
    let all = || Validator::new(schema()).allow_non_finite("rate").unwrap();
    assert_eq!(found(&check(all())), [("rate".to_owned(), Promise::Range, 1, 0, "inf")]);

    let key = check(all().unique(["rate", "kind"]).unwrap());
    assert_eq!(found(&key).len(), 1, "rows with a missing cell have no key");
    let key = check(all().unique(["kind"]).unwrap());
    assert_eq!(found(&key)[1], ("kind".to_owned(), Promise::Unique, 2, 1, "\"a\""));

    let share = |max| check(all().missing_share_max("kind", max).unwrap());
    assert_eq!(found(&share(0.34)).len(), 1);
    let report = share(0.3);
    assert_eq!(
        (report.violations[1].promise.clone(), report.violations[1].count, report.violations[1].first_row),
        (Promise::MissingShare, 2, 4)
    );
    assert!(report.violations[1].to_string().contains("`kind` is missing too often, in 2 rows"));

    assert_eq!(found(&check(all().rows(6..=6))).len(), 1);
    let report = check(all().rows(7..=10));
    assert_eq!(report.violations[1].to_string(), "the table has 6 rows, not 7 to 10");
    assert!(!Validator::new(schema()).rows(1..=2).report().is_valid(), "an empty table");
    assert!(Validator::new(schema()).report().is_valid());

    assert_eq!(all().unique(["nobody"]).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(all().unique([""; 0]).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(all().missing_share_max("kind", 1.1).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(all().missing_share_max("kind", f64::NAN).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(all().allow_non_finite("nobody").unwrap_err().kind(), ErrorKind::NotFound);
    for other in [all().rows(0..=1), all().unique(["kind"]).unwrap(), Validator::new(schema())] {
        assert_eq!(all().merge(other).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn keys_never_read_alike() {
    let schema = TableSchema::new(["a", "b"].map(|name| Column::new(name, ColumnKind::Text))).unwrap();
    let texts = |cells: [&str; 2]| -> ArrayRef { Arc::new(StringArray::from(cells.to_vec())) };
    let mut validator = Validator::new(schema).unique(["a", "b"]).unwrap();
    validator.update(&batch(&[("a", texts(["x\", \"y", "x"])), ("b", texts(["z", "y\", \"z"]))])).unwrap();
    assert!(validator.report().is_valid());
}

#[test]
fn a_folder_is_looked_at_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "id,rate,kind\n1,x,a\n2,0,a\n").unwrap();
    std::fs::write(folder.path().join("b.csv"), "kind,rate,id\na,y,2\na,2,y\n").unwrap();
    let mut validator = Validator::new(schema());
    validator.update_from(Scan::open(folder.path(), schema()).unwrap()).unwrap();
    let expected = [
        ("id".to_owned(), Promise::Kind, 1, 3, "`y`"),
        ("rate".to_owned(), Promise::Kind, 2, 0, "`x`"),
        ("rate".to_owned(), Promise::Range, 1, 3, "2"),
        ("id".to_owned(), Promise::Unique, 1, 2, "2"),
    ];
    assert_eq!(found(&validator.report()), expected);
}

proptest! {
    #[test]
    fn any_sharding_gives_the_report_of_the_whole(
        ids in prop::collection::vec(prop::option::of(prop::sample::select(vec!["1", "2", "3", "x", "9", "10"])), 0..40),
        rates in prop::collection::vec(prop::option::of(prop::sample::select(vec!["0", "0.5", "2", "inf", "?"])), 40),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..5),
    ) {
        let rows = ids.len();
        let kinds: ArrayRef = Arc::new(StringArray::from(vec![Some("a"); rows]));
        let columns = [
            ("id", Arc::new(StringArray::from(ids)) as ArrayRef),
            ("rate", Arc::new(StringArray::from(rates[..rows].to_vec()))),
            ("kind", kinds),
        ];
        let whole = batch(&columns);
        let mut ends: Vec<(usize, bool)> = cuts.into_iter().map(|(place, full)| (place.index(rows + 1), full)).collect();
        ends.sort_unstable();
        ends.push((rows, true));
        let empty = Validator::new(schema()).unique(["rate", "id"]).unwrap().missing_share_max("rate", 0.2).unwrap();
        let (mut straight, mut merged, mut start) = (empty.clone(), empty.clone(), 0);
        for (end, full) in ends {
            let piece = whole.slice(start, end - start);
            let piece = if full { piece } else { piece.project(&[0, 1]).unwrap() };
            straight.update(&piece).unwrap();
            let mut part = empty.clone();
            part.update(&piece).unwrap();
            merged.merge(part).unwrap();
            start = end;
        }
        prop_assert_eq!(merged.report(), straight.report());
    }
}
