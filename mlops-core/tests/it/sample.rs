//! Samples: reproducible, mergeable, and drawn with the chances that they promise.

use mlops_core::data::{Column, ColumnKind, Dataset, Draw, Reservoir, TableSchema};
use mlops_core::{ErrorKind, Seed};
use proptest::prelude::*;

fn drawn(reservoir: &Reservoir<u64>) -> Vec<u64> {
    reservoir.items().copied().collect()
}

fn offer(reservoir: &mut Reservoir<u64>, row: u64, weight: f64) {
    reservoir.push_weighted(row.to_le_bytes(), weight, row).unwrap();
}

proptest! {
    #[test]
    fn any_order_and_sharding_draws_the_same(
        weights in prop::collection::vec(0.0..10.0, 0..200), capacity in 0_usize..20, seed: u64,
        shards in prop::collection::vec(0_usize..4, 200),
    ) {
        let empty = Reservoir::new(capacity, Seed::new(seed));
        let mut whole = empty.clone();
        let mut parts = vec![empty.clone(); 4];
        for (row, weight) in weights.iter().enumerate() {
            offer(&mut whole, row as u64, *weight);
        }
        for (row, weight) in weights.iter().enumerate().rev() {
            offer(&mut parts[shards[row]], row as u64, *weight);
        }
        let mut merged = empty;
        for part in parts {
            merged.merge(part).unwrap();
        }
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.seen(), weights.len() as u64);
        prop_assert_eq!(drawn(&merged).len(), capacity.min(weights.iter().filter(|weight| **weight > 0.0).count()));

        let stored = serde_json::to_string(&whole).unwrap();
        prop_assert_eq!(serde_json::from_str::<Reservoir<u64>>(&stored).unwrap(), whole);
    }
}

#[test]
fn every_item_has_the_same_chance() {
    let mut counts = [0_u32; 20];
    for seed in 0..4000 {
        let mut reservoir = Reservoir::new(5, Seed::new(seed));
        (0..20_u64).for_each(|row| reservoir.push(row.to_le_bytes(), row));
        drawn(&reservoir).into_iter().for_each(|row| counts[row as usize] += 1);
    }
    // Each count is binomial (4000, 1/4), standard deviation 27: five of them.
    assert!(counts.iter().all(|count| (865..=1135).contains(count)), "{counts:?}");
}

#[test]
fn the_first_draw_follows_the_weights() {
    let weights = [1.0, 2.0, 5.0, 0.0];
    let mut counts = [0_u32; 4];
    for seed in 0..8000 {
        let mut reservoir = Reservoir::new(1, Seed::new(seed));
        (0..4_u64).for_each(|row| offer(&mut reservoir, row, weights[row as usize]));
        counts[drawn(&reservoir)[0] as usize] += 1;
    }
    for (count, expected) in counts.into_iter().zip([1000_i64, 2000, 5000, 0]) {
        assert!((i64::from(count) - expected).abs() <= 220, "{counts:?}");
    }
}

#[test]
fn bad_weights_and_strangers_are_refused() {
    let mut reservoir = Reservoir::new(2, Seed::new(1));
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(reservoir.push_weighted([0], weight, 0).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(reservoir.seen(), 0);
    assert!(reservoir.merge(Reservoir::new(3, Seed::new(1))).is_err());
    assert!(reservoir.merge(Reservoir::new(2, Seed::new(2))).is_err());
}

fn table(rows: usize) -> Dataset {
    let schema = TableSchema::new([
        Column::new("class", ColumnKind::Text),
        Column::new("weight", ColumnKind::Float),
        Column::new("row", ColumnKind::Integer),
    ]);
    let lines = (0..rows).map(|row| format!("{},{},{row}\n", ["a", "b", ""][row % 3], row % 5));
    Dataset::from_csv(format!("class,weight,row\n{}", lines.collect::<String>()).as_bytes(), schema.unwrap())
        .unwrap()
}

#[test]
fn tables_are_sampled_in_order_and_again() {
    let data = table(300);
    for by in [Draw::Uniform, Draw::Weighted("weight"), Draw::Stratified("class")] {
        let sample = data.sample(by, 20, Seed::new(3)).unwrap();
        let rows = sample.numbers("row").unwrap();
        assert_eq!(rows.len(), if by == Draw::Stratified("class") { 60 } else { 20 });
        assert!(rows.is_sorted_by(|a, b| a < b));
        assert_eq!(data.sample(by, 20, Seed::new(3)).unwrap(), sample);
        assert_ne!(data.sample(by, 20, Seed::new(4)).unwrap(), sample);
    }
    let weighted = data.sample(Draw::Weighted("weight"), 300, Seed::new(3)).unwrap();
    assert!(weighted.numbers("weight").unwrap().iter().all(|weight| *weight > 0.0));
    assert_eq!(data.sample(Draw::Uniform, 1000, Seed::new(3)).unwrap().rows(), 300);
    assert_eq!(data.sample(Draw::Uniform, 0, Seed::new(3)).unwrap().rows(), 0);
    assert_eq!(table(0).sample(Draw::Stratified("class"), 5, Seed::new(3)).unwrap().rows(), 0);
}

#[test]
fn bad_columns_are_refused() {
    let data = table(3);
    assert_eq!(data.sample(Draw::Weighted("none"), 1, Seed::new(1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(data.sample(Draw::Weighted("class"), 1, Seed::new(1)).unwrap_err().kind(), ErrorKind::Invalid);
    let schema = TableSchema::new([Column::new("w", ColumnKind::Float)]).unwrap();
    let missing = Dataset::from_csv("w\n1\n-2\n".as_bytes(), schema).unwrap();
    let error = missing.sample(Draw::Weighted("w"), 1, Seed::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("row 1"), "{error}");
}
