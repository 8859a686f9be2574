//! The largest elements of a row.

use std::cmp::Ordering;

/// The place of the first of the largest elements; 0 if all are NaN.
pub(super) fn arg_max(row: &[f32]) -> usize {
    let mut best = 0;
    for (place, value) in row.iter().enumerate() {
        if *value > row[best] || row[best].is_nan() && !value.is_nan() {
            best = place;
        }
    }
    best
}

/// Fills `places` with those of the largest elements, the largest first, equals in their order, NaN last.
///
/// Few are kept in order; many in a heap whose root is the worst, so that time grows with their logarithm.
pub(super) fn top(row: &[f32], places: &mut [i64]) {
    if places.len() > TOP_IN_ORDER {
        return top_by_heap(row, places);
    }
    let key = |place: i64| {
        let value = row[place as usize];
        if value.is_nan() { f32::NEG_INFINITY } else { value }
    };
    let count = places.len();
    let mut filled = 0;
    for place in 0..row.len() as i64 {
        let value = key(place);
        if filled == count && (count == 0 || value <= key(places[count - 1])) {
            continue;
        }
        let from = places[..filled].partition_point(|held| key(*held) >= value);
        filled = (filled + 1).min(count);
        places[from..filled].rotate_right(1);
        places[from] = place;
    }
}

/// Up to so many, moving them along is faster than a heap.
const TOP_IN_ORDER: usize = 64;

fn top_by_heap(row: &[f32], places: &mut [i64]) {
    let key = |place: i64| {
        let value = row[place as usize];
        if value.is_nan() { f32::NEG_INFINITY } else { value }
    };
    // No key is NaN.
    let rank = |a: &i64, b: &i64| key(*b).partial_cmp(&key(*a)).unwrap_or(Ordering::Equal).then(a.cmp(b));
    let worse = |a: i64, b: i64| rank(&a, &b).is_gt();
    // Sinks the element at `at` to where its children are better.
    let sink = |heap: &mut [i64], mut at: usize| loop {
        let left = 2 * at + 1;
        let Some(mut child) = heap.get(left).map(|_| left) else { return };
        if heap.get(left + 1).is_some_and(|right| worse(*right, heap[left])) {
            child = left + 1;
        }
        if !worse(heap[child], heap[at]) {
            return;
        }
        heap.swap(at, child);
        at = child;
    };
    let count = places.len();
    (0..).zip(&mut *places).for_each(|(place, slot)| *slot = place);
    (0..count / 2).rev().for_each(|at| sink(places, at));
    for place in count as i64..row.len() as i64 {
        if worse(places[0], place) {
            places[0] = place;
            sink(places, 0);
        }
    }
    places.sort_unstable_by(rank);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn top_of_many_treats_zeros_and_gaps_as_top_of_few() {
        let row = [0.0, f32::NAN, -0.0, f32::NEG_INFINITY, 1.0, -0.0, 0.0, f32::NAN];
        for count in 1..=row.len() {
            let (mut few, mut many) = (vec![-1; count], vec![-1; count]);
            top(&row, &mut few);
            top_by_heap(&row, &mut many);
            assert_eq!(few, many);
        }
    }

    proptest! {
        #[test]
        fn top_is_a_stable_sort(values in prop::collection::vec(-4_i8..4, 1..40), count in 0_usize..40) {
            let row: Vec<f32> = values.iter().map(|value| f32::from(*value)).collect();
            let count = count.min(row.len());
            let mut want: Vec<i64> = (0..row.len() as i64).collect();
            want.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
            let mut got = vec![-1; count];
            top(&row, &mut got);
            prop_assert_eq!(&got[..], &want[..count]);
            if count > 0 {
                top_by_heap(&row, &mut got);
                prop_assert_eq!(&got[..], &want[..count]);
            }
        }
    }
}
