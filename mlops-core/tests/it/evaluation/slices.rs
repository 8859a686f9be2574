//! The search for weak slices: finds what is there, and nothing where there is nothing.

use mlops_core::evaluation::SliceSearch;
use mlops_core::{ErrorKind, Seed};
use rand::RngExt;

fn columns(seed: u64, rows: usize) -> (Vec<&'static str>, Vec<&'static str>, Vec<&'static str>, Vec<f64>) {
    let mut rng = Seed::new(seed).rng();
    let mut column = |values: &[&'static str]| -> Vec<&'static str> {
        (0..rows).map(|_| values[rng.random_range(0..values.len())]).collect()
    };
    let (a, b, c) = (column(&["x", "y"]), column(&["u", "v", "w"]), column(&["p", "q"]));
    let noise = (0..rows).map(|_| rng.random::<f64>()).collect();
    (a, b, c, noise)
}

#[test]
fn a_weak_corner_of_two_features_is_found() {
    let (a, b, c, mut loss) = columns(1, 2000);
    for row in 0..loss.len() {
        if a[row] == "x" && b[row] == "w" {
            loss[row] += 1.0;
        }
    }
    let found = SliceSearch::default().find(&[("a", &a), ("b", &b), ("c", &c)], &loss).unwrap();
    assert_eq!(found[0].to_string(), "a=x and b=w");
    assert!((found[0].mean_loss - 1.5).abs() < 0.1 && (found[0].mean_loss_elsewhere - 0.5).abs() < 0.1);
    assert!(found[0].effect_size > 2.0);
    let single = SliceSearch { depth: 1, ..SliceSearch::default() };
    let found = single.find(&[("a", &a), ("b", &b), ("c", &c)], &loss).unwrap();
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["b=w", "a=x"]);
}

#[test]
fn false_finds_are_as_rare_as_promised() {
    let runs = 200;
    let finds = (0..runs).filter(|&seed| {
        let (a, b, c, loss) = columns(seed, 300);
        !SliceSearch::default().find(&[("a", &a), ("b", &b), ("c", &c)], &loss).unwrap().is_empty()
    });
    // At most 5 % of 200 runs, plus four standard deviations.
    let finds = finds.count();
    assert!(finds <= 22, "{finds} of {runs}");
}

#[test]
fn bad_input_is_refused_and_small_input_finds_nothing() {
    let search = SliceSearch::default();
    let kind = |search: SliceSearch, values: &[&str], loss: &[f64]| {
        search.find(&[("a", values)], loss).err().map(|error| error.kind())
    };
    assert_eq!(kind(search, &["x"], &[1.0, 2.0]), Some(ErrorKind::Invalid));
    assert_eq!(kind(search, &["x"], &[f64::NAN]), Some(ErrorKind::Data));
    assert_eq!(kind(SliceSearch { depth: 0, ..search }, &["x"], &[1.0]), Some(ErrorKind::Invalid));
    assert_eq!(kind(SliceSearch { alpha: f64::NAN, ..search }, &["x"], &[1.0]), Some(ErrorKind::Invalid));
    assert_eq!(search.find(&[], &[]).unwrap(), []);
    assert_eq!(search.find(&[("a", &["x"; 100])], &[1.0; 100]).unwrap(), []);
    // Constant losses that differ by slice: no spread, and still found.
    let values: Vec<&str> = (0..100).map(|row| if row < 50 { "x" } else { "y" }).collect();
    let loss: Vec<f64> = (0..100).map(|row| if row < 50 { 1.0 } else { 0.0 }).collect();
    let found = search.find(&[("a", &values)], &loss).unwrap();
    assert_eq!((found.len(), found[0].p_value), (1, 0.0));
}
