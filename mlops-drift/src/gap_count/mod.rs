//! Exact statistics of live data against a fixed reference, without storing or sorting the live data.
//!
//! A p-value is that of one look. Looked at all the time it falls below any level by chance sooner or later: look once a
//! window.

mod counts;
mod index;
mod reference;
mod sliding;

pub use counts::GapCounts;
pub use reference::Reference;
pub use sliding::{SlidingGapCounts, SlidingState};

/// More live or reference numbers than anybody counts: sums of two stay in range.
pub(crate) const MOST: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;
    use crate::binning::Binning;
    use crate::two_sample::{Alternative, Method, cramer_von_mises, kolmogorov_smirnov, mann_whitney};

    #[test]
    fn rank_tests_are_those_of_the_samples() {
        let reference: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101)).collect();
        // On reference values, between them and beyond them; distinct between.
        let live: Vec<f64> =
            (0..150).map(|i| f64::from(i * 53 % 97) * 1.1 - 3.0 + f64::from(i) * 1e-4).collect();
        let (a, b) = (Sample::new(reference).unwrap(), Sample::new(live.clone()).unwrap());
        let reference = Reference::new(&a).unwrap();
        let mut counts = GapCounts::new(&reference);
        live.iter().for_each(|value| counts.update(&reference, *value).unwrap());
        let ks = kolmogorov_smirnov(&a, &b).unwrap();
        assert_eq!(counts.kolmogorov_smirnov(&reference).unwrap(), (ks.effect, ks.p_value));
        assert_eq!(
            counts.mann_whitney(&reference, Alternative::Less).unwrap(),
            mann_whitney(&a, &b, Alternative::Less, Method::Asymptotic).unwrap()
        );
        assert_eq!(
            counts.cramer_von_mises(&reference).unwrap(),
            cramer_von_mises(&a, &b, Method::Auto).unwrap()
        );
        let edges = Binning::Quantile(4).edges(&reference).unwrap();
        let (was, is) = counts.buckets(&reference, &edges).unwrap();
        assert_eq!((was.iter().sum::<u64>(), is.iter().sum::<u64>()), (200, 150));
        let below = live.iter().filter(|value| **value < edges[0]).count() as u64;
        let first = live.iter().filter(|value| **value >= edges[0] && **value <= edges[1]).count() as u64;
        assert_eq!((is[0], is[1]), (below, first));
        assert!(counts.buckets(&reference, &[0.5]).is_err());
    }

    #[test]
    fn a_sliding_window_counts_its_last_values() {
        let reference = Reference::new(&Sample::new((0..50).map(f64::from)).unwrap()).unwrap();
        let value = |i: i32| f64::from(i * 17 % 61) - 4.5;
        let mut window = SlidingGapCounts::new(&reference, 40).unwrap();
        for i in 0..300 {
            window.update(&reference, value(i)).unwrap();
        }
        let mut last = GapCounts::new(&reference);
        (260..300).for_each(|i| last.update(&reference, value(i)).unwrap());
        assert_eq!(*window.counts(), last);
        assert!(window.update(&reference, f64::NAN).is_err());
        let json = serde_json::to_string(&window.state()).unwrap();
        let state: SlidingState = serde_json::from_str(&json).unwrap();
        assert_eq!(SlidingGapCounts::resume(&reference, state.clone()).unwrap(), window);
        let other = Reference::new(&Sample::new((1..51).map(f64::from)).unwrap()).unwrap();
        let error = SlidingGapCounts::resume(&other, state).unwrap_err();
        assert!(error.to_string().contains("another reference"), "{error}");
        last.subtract(window.counts()).unwrap();
        assert_eq!(last, GapCounts::new(&reference));
    }

    #[test]
    fn counts_of_another_reference_are_refused() {
        let reference = |values: [f64; 3]| Reference::new(&Sample::new(values).unwrap()).unwrap();
        let (mine, theirs) = (reference([1.0, 2.0, 3.0]), reference([10.0, 20.0, 30.0]));
        let mut counts = GapCounts::new(&mine);
        assert!(counts.update(&theirs, 1.0).is_err());
        assert!(counts.update_all(&theirs, &[1.0]).is_err());
        assert!(counts.merge(&GapCounts::new(&theirs)).is_err());
        assert!(counts.kolmogorov_smirnov(&theirs).is_err());
        counts.update(&mine, 1.0).unwrap();
        let json = serde_json::to_string(&counts).unwrap();
        let stored: GapCounts = serde_json::from_str(&json).unwrap();
        assert!(stored.mann_whitney(&theirs, Alternative::TwoSided).is_err());
    }

    #[test]
    fn any_edges_cut_the_counts_of_a_reference_with_these_points() {
        let reference = Reference::new(&Sample::new([1.0, 2.0, 3.0, 4.0]).unwrap()).unwrap();
        let edges = [0.5, 2.5, 9.0];
        let reference = reference.with_points(&edges);
        let mut counts = GapCounts::new(&reference);
        counts.update_all(&reference, &[0.0, 2.0, 2.6, 10.0]).unwrap();
        assert_eq!(counts.buckets(&reference, &edges).unwrap(), (vec![0, 2, 2, 0], vec![1, 1, 1, 1]));
        assert!(counts.psi(&reference, &edges).unwrap() > 0.0);
    }
}
