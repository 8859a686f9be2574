//! Point-in-time joins against a join by brute force, and the cases that leak.

use std::fmt::Write;
use std::time::Duration;

use mlops_core::data::{Column, ColumnKind, Dataset, PointInTime, TableSchema};
use mlops_core::{ErrorKind, Timestamp};
use proptest::prelude::*;

/// A table of integer columns; an empty cell is missing.
fn table(names: &[&str], rows: &[Vec<Option<i64>>]) -> Dataset {
    let schema = TableSchema::new(names.iter().map(|name| Column::new(*name, ColumnKind::Integer))).unwrap();
    let mut csv = names.join(",") + "\n";
    for row in rows {
        let cells: Vec<String> =
            row.iter().map(|cell| cell.map_or(String::new(), |c| c.to_string())).collect();
        writeln!(csv, "{}", cells.join(",")).unwrap();
    }
    Dataset::from_csv(csv.as_bytes(), schema).unwrap()
}

fn of(names: &[&str], rows: &[&[i64]]) -> Dataset {
    let rows: Vec<_> = rows.iter().map(|row| row.iter().copied().map(Some).collect()).collect();
    table(names, &rows)
}

/// The column as text, `-` for missing cells: easy to compare.
fn column(data: &Dataset, name: &str) -> String {
    let cells = data.numbers(name).unwrap();
    let cells: Vec<String> =
        cells.iter().map(|cell| if cell.is_nan() { "-".to_owned() } else { cell.to_string() }).collect();
    cells.join(" ")
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

#[test]
fn the_latest_row_that_was_known_wins() {
    let spine = of(&["user", "t"], &[&[1, 100], &[1, 99], &[2, 100], &[3, 100], &[1, 9]]);
    let features =
        of(&["user", "t", "x"], &[&[2, 50, 20], &[1, 100, 12], &[1, 10, 10], &[1, 101, 13], &[1, 90, 11]]);
    let join = PointInTime::new(["user"], "t");
    assert_eq!(column(&join.features(&spine, &features, None).unwrap(), "x"), "12 11 20 - -");
    let strict = join.clone().strictly_before();
    assert_eq!(column(&strict.features(&spine, &features, None).unwrap(), "x"), "11 11 20 - -");
    assert_eq!(column(&join.features(&spine, &features, Some(micros(20))).unwrap(), "x"), "12 11 - - -");
    assert_eq!(column(&join.features(&spine, &features, Some(micros(50))).unwrap(), "x"), "12 11 20 - -");
}

#[test]
fn a_row_that_was_loaded_later_does_not_leak() {
    let spine = of(&["user", "t"], &[&[1, 100], &[1, 200]]);
    let features = of(
        &["user", "event", "loaded", "x"],
        &[&[1, 50, 60, 1], &[1, 90, 150, 2], &[1, 90, 160, 3], &[1, 190, 100, 4]],
    );
    let join = PointInTime::new(["user"], "t").other_time("event").known_at("loaded");
    let joined = join.features(&spine, &features, None).unwrap();
    assert_eq!(column(&joined, "x"), "1 4");
    let names: Vec<_> = joined.schema().columns().iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["user", "t", "x"]);

    // Before 190 the correction of time 90 is the latest word.
    let spine = of(&["user", "t"], &[&[1, 155], &[1, 165]]);
    assert_eq!(column(&join.features(&spine, &features, None).unwrap(), "x"), "2 3");
}

#[test]
fn of_equal_times_the_last_row_wins() {
    let spine = of(&["user", "t"], &[&[1, 10]]);
    let features = of(&["user", "t", "x"], &[&[1, 10, 5], &[1, 10, 3], &[1, 10, 4]]);
    let joined = PointInTime::new(["user"], "t").features(&spine, &features, None).unwrap();
    assert_eq!(column(&joined, "x"), "4");
}

#[test]
fn labels_wait_until_their_horizon_is_over() {
    let spine = of(&["id", "t"], &[&[1, 0], &[2, 0], &[3, 95], &[4, 0], &[5, 90]]);
    let labels =
        of(&["id", "t", "y"], &[&[1, 5, 1], &[3, 96, 1], &[4, 11, 1], &[5, 91, 0], &[5, 91, 7], &[5, 95, 8]]);
    let join = PointInTime::new(["id"], "t");
    let joined = join.labels(&spine, &labels, micros(10), Timestamp::from_micros(100)).unwrap();
    // 3 has its label already, but its horizon ends at 105: an early label alone would bias the set.
    assert_eq!(column(&joined, "id"), "1 2 4 5");
    assert_eq!(column(&joined, "y"), "1 - - 7");
    let later = join.labels(&spine, &labels, micros(10), Timestamp::from_micros(105)).unwrap();
    assert_eq!(column(&later, "y"), "1 - 1 - 7");
}

#[test]
fn a_label_that_was_not_known_does_not_leak() {
    let spine = of(&["id", "t"], &[&[1, 0]]);
    let labels = of(&["id", "t", "seen", "y"], &[&[1, 5, 60, 1], &[1, 6, 20, 2]]);
    let join = PointInTime::new(["id"], "t").known_at("seen");
    let at = |as_of| {
        column(&join.labels(&spine, &labels, micros(10), Timestamp::from_micros(as_of)).unwrap(), "y")
    };
    assert_eq!([at(15), at(20), at(60)], ["-", "2", "1"]);
}

#[test]
fn missing_keys_match_nothing() {
    let spine = table(&["user", "t"], &[vec![None, Some(10)], vec![Some(1), Some(10)]]);
    let features = table(&["user", "t", "x"], &[vec![None, Some(5), Some(7)], vec![Some(1), Some(5), None]]);
    let joined = PointInTime::new(["user"], "t").features(&spine, &features, None).unwrap();
    assert_eq!(column(&joined, "x"), "- -");
}

#[test]
fn several_keys_of_text_do_not_run_together() {
    let schema = |more: &[&str]| {
        let text = ["a", "b"].map(|name| Column::new(name, ColumnKind::Text));
        let more = more.iter().map(|name| Column::new(*name, ColumnKind::Integer));
        TableSchema::new(text.into_iter().chain(more)).unwrap()
    };
    let spine = Dataset::from_csv("a,b,t\nx,yz,9\nxy,z,9\n".as_bytes(), schema(&["t"])).unwrap();
    let features = Dataset::from_csv("a,b,t,v\nxy,z,1,5\n".as_bytes(), schema(&["t", "v"])).unwrap();
    let joined = PointInTime::new(["a", "b"], "t").features(&spine, &features, None).unwrap();
    assert_eq!(column(&joined, "v"), "- 5");
}

#[test]
fn bad_tables_are_refused() {
    let spine = of(&["user", "t", "x"], &[&[1, 10, 0]]);
    let features = of(&["user", "t", "x"], &[&[1, 10, 0]]);
    let kind =
        |join: PointInTime, features: &Dataset| join.features(&spine, features, None).unwrap_err().kind();
    assert_eq!(kind(PointInTime::new(["user"], "t"), &features), ErrorKind::Invalid, "same name");
    assert!(PointInTime::new(["user"], "t").prefixed("f_").features(&spine, &features, None).is_ok());
    assert_eq!(kind(PointInTime::new([""; 0], "t"), &features), ErrorKind::Invalid, "no key");
    assert_eq!(kind(PointInTime::new(["nobody"], "t"), &features), ErrorKind::NotFound);
    assert_eq!(kind(PointInTime::new(["user"], "never"), &features), ErrorKind::NotFound);
    let no_time = table(&["user", "t", "y"], &[vec![Some(1), None, Some(1)]]);
    assert_eq!(kind(PointInTime::new(["user"], "t"), &no_time), ErrorKind::Data);
    let text =
        TableSchema::new([Column::new("user", ColumnKind::Text), Column::new("t", ColumnKind::Integer)]);
    let text = Dataset::from_csv("user,t\n1,10\n".as_bytes(), text.unwrap()).unwrap();
    assert_eq!(kind(PointInTime::new(["user"], "t"), &text), ErrorKind::Invalid, "kinds differ");
    let float =
        TableSchema::new([Column::new("user", ColumnKind::Float), Column::new("t", ColumnKind::Float)]);
    let float = Dataset::from_csv("user,t\n1,10\n".as_bytes(), float.unwrap()).unwrap();
    let error = PointInTime::new(["user"], "t").features(&float, &float, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn times_of_different_kinds_are_refused() {
    let schema = |time| {
        TableSchema::new([
            Column::new("user", ColumnKind::Integer),
            Column::new("t", time),
            Column::new("x", ColumnKind::Integer),
        ])
    };
    let micros = "user,t,x\n1,2026-05-01T00:00:00Z,1\n";
    let spine = Dataset::from_csv(micros.as_bytes(), schema(ColumnKind::Timestamp).unwrap()).unwrap();
    let seconds =
        Dataset::from_csv("user,t,x\n1,1900000000,9\n".as_bytes(), schema(ColumnKind::Integer).unwrap());
    let join = PointInTime::new(["user"], "t").prefixed("f_");
    for (a, b) in [(&spine, seconds.as_ref().unwrap()), (seconds.as_ref().unwrap(), &spine)] {
        let error = join.features(a, b, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("they may count in different units"), "{error}");
        assert!(join.labels(a, b, Duration::from_secs(1), Timestamp::EPOCH).is_err());
    }
}

#[test]
fn empty_tables_join() {
    let spine = of(&["user", "t"], &[&[1, 10]]);
    let features = of(&["user", "t", "x"], &[]);
    let join = PointInTime::new(["user"], "t");
    assert_eq!(column(&join.features(&spine, &features, None).unwrap(), "x"), "-");
    assert_eq!(join.features(&of(&["user", "t"], &[]), &features, None).unwrap().rows(), 0);
}

#[test]
fn times_at_the_ends_of_the_range_do_not_overflow() {
    let spine = of(&["user", "t"], &[&[1, i64::MAX], &[1, i64::MIN]]);
    let features = of(&["user", "t", "x"], &[&[1, i64::MIN, 1], &[1, i64::MAX, 2]]);
    let join = PointInTime::new(["user"], "t");
    assert_eq!(column(&join.features(&spine, &features, Some(Duration::MAX)).unwrap(), "x"), "2 1");
    let as_of = Timestamp::from_micros(i64::MAX);
    assert_eq!(column(&join.labels(&spine, &features, Duration::MAX, as_of).unwrap(), "x"), "2 1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn joins_as_brute_force_does(
        spine in prop::collection::vec((0_i64..4, 0_i64..30), 0..25),
        other in prop::collection::vec((0_i64..4, 0_i64..30, 0_i64..40), 0..40),
        reach in prop::option::of(0_i64..20), strict: bool, as_of in 0_i64..50,
    ) {
        let spine_table = of(&["k", "t"], &spine.iter().map(|(k, t)| vec![*k, *t]).collect::<Vec<_>>().iter().map(Vec::as_slice).collect::<Vec<_>>());
        let rows: Vec<Vec<i64>> =
            other.iter().enumerate().map(|(i, (k, t, known))| vec![*k, *t, *known, i as i64]).collect();
        let other_table = of(&["k", "t", "known", "x"], &rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut join = PointInTime::new(["k"], "t").known_at("known");
        if strict {
            join = join.strictly_before();
        }
        let text = |found: Vec<Option<usize>>| {
            found.into_iter().map(|i| i.map_or("-".to_owned(), |i| i.to_string())).collect::<Vec<_>>().join(" ")
        };
        let at = |i: usize| (other[i].1, other[i].2.max(other[i].1), i);

        let brute = spine.iter().map(|(k, t)| {
            let usable = |i: &usize| {
                let (time, known, _) = at(*i);
                let before = |moment: i64| if strict { moment < *t } else { moment <= *t };
                other[*i].0 == *k && before(time) && before(known) && reach.is_none_or(|reach| t - time <= reach)
            };
            (0..other.len()).filter(usable).max_by_key(|i| at(*i))
        });
        let age_max = reach.map(|reach| micros(reach as u64));
        let joined = join.features(&spine_table, &other_table, age_max).unwrap();
        prop_assert_eq!(column(&joined, "x"), text(brute.collect()));

        let horizon = reach.unwrap_or(5);
        let brute = spine.iter().filter(|(_, t)| t + horizon <= as_of).map(|(k, t)| {
            let usable = |i: &usize| {
                let (time, known, _) = at(*i);
                let after = if strict { time > *t } else { time >= *t };
                other[*i].0 == *k && after && time - t <= horizon && known <= as_of
            };
            let first = (0..other.len()).filter(usable).map(|i| at(i).0).min()?;
            (0..other.len()).filter(usable).filter(|i| at(*i).0 == first).max_by_key(|i| at(*i))
        });
        let as_of = Timestamp::from_micros(as_of);
        let joined = join.labels(&spine_table, &other_table, micros(horizon as u64), as_of).unwrap();
        prop_assert_eq!(column(&joined, "x"), text(brute.collect()));
    }
}

#[test]
fn rows_whose_outcomes_are_on_the_way_are_not_negatives() {
    let spine = of(&["id", "t"], &[&[1, 10], &[2, 20], &[3, 30]]);
    // Outcomes become known 25 after they happen; that of row 2 is not there yet at 50.
    let outcomes = of(&["id", "t", "seen", "y"], &[&[1, 15, 40, 1], &[2, 26, 51, 1]]);
    let join = PointInTime::new(["id"], "t").known_at("seen");
    let at = |join: &PointInTime, as_of| {
        join.labels(&spine, &outcomes, micros(10), Timestamp::from_micros(as_of)).unwrap()
    };
    assert_eq!(column(&at(&join, 50), "y"), "1 - -", "2 and 3 are taken for negatives");
    let patient = join.delay(micros(25));
    assert_eq!(column(&at(&patient, 44), "y"), "");
    assert_eq!(column(&at(&patient, 50), "y"), "1");
    assert_eq!(column(&at(&patient, 55), "y"), "1 1");
    assert_eq!(column(&at(&patient, 65), "y"), "1 1 -");
    assert_eq!(at(&patient.delay(Duration::MAX), i64::MAX - 1).rows(), 0);
}
